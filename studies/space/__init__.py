"""The search space: dimensions, conditions, and recipes expressed in them."""
