"""Class-activation maps: which part of an image speaks for a class."""
