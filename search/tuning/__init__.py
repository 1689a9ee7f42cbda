"""The hyperparameter search with Optuna: samplers, pruners, warm starts, and the reporting of results."""
