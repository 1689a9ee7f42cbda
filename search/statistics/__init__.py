"""Pure functions of stored predictions: ranking, estimates, forecasts, ensembles."""
