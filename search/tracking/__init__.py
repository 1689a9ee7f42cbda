"""Trackers that record trainings elsewhere (TensorBoard, MLflow): one file for each, behind one protocol."""
