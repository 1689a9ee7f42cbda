"""Conversion of the networks of a model folder to other formats, checked against the original."""
