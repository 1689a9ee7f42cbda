"""Training and scoring one recipe."""
