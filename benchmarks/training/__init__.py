"""Speed and memory of a training and of its augmentation."""
