"""Metrics, calibration and label rules: functions of predicted probabilities and true classes."""
