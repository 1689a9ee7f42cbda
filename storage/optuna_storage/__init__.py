"""Optuna's studies and trials in our database.

Only this package and `search.tuning.cost_aware_tpe` use Optuna's private names, so that a new release of Optuna can
break no other module.
"""
