"""Whole searches on small competitions, compared with Optuna, random search and Ray Tune."""
