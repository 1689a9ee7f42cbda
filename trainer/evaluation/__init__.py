"""Metrics and what is computed from predicted probabilities."""
