"""The settings of one training, and the tables of what they may name."""
