"""A folder of images as a value: reading, checking, duplicates, folds."""
