"""Exit codes of the command line."""

EXIT_BUG = 1
"""An unexpected exception: a bug."""
EXIT_DIFFERENT = 1
"""A replay differs from the recorded trial by more than its tolerance."""
EXIT_MISTAKE = 2
"""Invalid input; the message names the mistake. Typer exits with the same code."""
EXIT_DEVICE = 3
"""A worker's GPU or driver failed; a new process may succeed."""
EXIT_INTERRUPTED = 130
"""Interrupted by Ctrl-C, as shells report it (128 + SIGINT)."""
