"""Which recipes make the final model, and how their predictions are blended."""
