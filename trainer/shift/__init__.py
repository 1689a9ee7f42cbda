"""Whether the test images look like the training images."""
