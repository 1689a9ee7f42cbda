"""Cross-validating one recipe."""
