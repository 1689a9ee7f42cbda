"""The study files that ship with Retable."""
