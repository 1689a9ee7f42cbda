"""The report of a study as one HTML file: `search report`, and part of every export."""
