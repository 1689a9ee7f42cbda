"""Samplers, pruners and warm starts: what is asked of Optuna and reported to it."""
