"""Readers of data layouts, one module each, and the code that they share."""
