"""Warnings about labels and class folders that are readable but may not be what they seem."""
