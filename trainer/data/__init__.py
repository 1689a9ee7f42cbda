"""Data sets: reading a folder of images, checking it, near-duplicates, cross-validation folds."""
