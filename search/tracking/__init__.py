"""Trackers that record trainings elsewhere (TensorBoard, MLflow), and the pictures that they show."""
