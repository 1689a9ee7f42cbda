"""The recipe: all settings of one training, and the tables of its augmentations and optimizers."""
