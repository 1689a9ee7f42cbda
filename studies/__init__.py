"""Study files: what a hyperparameter search fixes, varies and measures, read, checked and put into words."""
