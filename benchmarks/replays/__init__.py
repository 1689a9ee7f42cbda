"""Pruning, sampling, selection and forecast, replayed on recorded learning curves."""
