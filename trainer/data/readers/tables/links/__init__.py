"""Join a table of labels with the table that names the image of each of its ids."""
