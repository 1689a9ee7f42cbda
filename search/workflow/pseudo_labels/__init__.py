"""``search start --pseudo-from``: a second study that also learns from pseudo-labelled test images."""
