"""From stored images to training batches."""
