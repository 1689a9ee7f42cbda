"""Linear probes: their cost, their forecast of fine-tuning, and what averages and blends of them gain."""
