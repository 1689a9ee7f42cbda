"""What the command line exits with."""

EXIT_BUG = 1
"""Something failed that should not have."""
EXIT_DIFFERENT = 1
"""A replay came out otherwise than recorded, beyond its tolerance: something has changed that should not have."""
EXIT_MISTAKE = 2
"""The input was wrong; the message says how. Also what Typer itself exits with."""
EXIT_DEVICE = 3
"""A worker's GPU broke down under it; a new process may fare better."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells report it."""
