"""Revisions of the tables, one file each."""
