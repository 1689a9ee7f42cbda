"""A picture of what a study's augmentations do to the images."""
