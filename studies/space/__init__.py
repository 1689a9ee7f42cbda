"""The search space: dimensions, their conditions, and the sampled values that give a wanted recipe."""
