"""Optuna's studies and trials in our database.

Only this package and the samplers of `search.tuning` use Optuna's private names, so that a new release of Optuna can
break no other module.
"""
