"""Reading of images and labels that lie in arrays of numpy."""
