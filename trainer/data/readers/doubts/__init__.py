"""Warnings about labels, class folders and names that are readable but may not be what they seem."""
