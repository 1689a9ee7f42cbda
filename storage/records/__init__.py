"""Stores that turn rows into values and back: studies, data sets, trials, exports, imports, workers."""
