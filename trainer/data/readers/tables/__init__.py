"""Finding the tables of a data folder, and choosing the one that labels the training images."""
