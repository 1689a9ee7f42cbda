"""Exit codes of the command line, and the base class of the service's errors."""

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


class SearchError(Exception):
    """Base class of the errors that this package raises. The command line prints the message without a traceback.

    An error with an attribute ``exit_code`` ends the command with that code, others with `EXIT_MISTAKE`.
    """
