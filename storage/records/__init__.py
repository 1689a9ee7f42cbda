"""Stored rows as values: studies, data sets, trials, exports, imports, workers."""
