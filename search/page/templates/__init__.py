"""The HTML and CSS of the report."""
