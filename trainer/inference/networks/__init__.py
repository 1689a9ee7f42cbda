"""The networks of a model folder: their test-time views, and their predictions with torch or with ONNX Runtime."""
