"""Dataset shift: measure how much the test images differ from the training images."""
