"""Backbones, their weights, and the optimizers that train them."""
