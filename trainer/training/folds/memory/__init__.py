"""The place of the folds in the memory of the device and of the host."""
