"""Persistent data: one SQL database, shared with Optuna, and files beside it."""
