"""One module for each data layout, and what these share."""
