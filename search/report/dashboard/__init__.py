"""``search dashboard``: Optuna Dashboard on the study database, protected by WSGI middleware."""
