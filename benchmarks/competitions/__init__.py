"""Whole searches on small competitions, against other tools."""
