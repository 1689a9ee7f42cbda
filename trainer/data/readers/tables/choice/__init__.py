"""The choice of the table that labels the training images."""
