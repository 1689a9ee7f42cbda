"""Exit codes of the command line, and the base class of the service's errors."""

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


class SearchError(Exception):
    """Base class of the errors that this package raises. The command line prints the message without a traceback.

    An error with an attribute ``exit_code`` ends the command with that code, others with `EXIT_MISTAKE`.
    """
