"""Pre-trained weights: finding them, loading them safely, and networks that begin with them."""
