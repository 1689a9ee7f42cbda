"""``search preview``: a picture of a study's augmentations on example images."""
