"""Basics of the trainer: errors, files, the installed libraries and random numbers."""
