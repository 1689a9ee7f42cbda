"""Finding the image file that each id of a table means."""
