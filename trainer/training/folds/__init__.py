"""The networks of the folds of one cross-validation: training, parallel folds, and their place in memory."""
