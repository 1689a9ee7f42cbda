"""Hides passwords of database URLs in the process title, which ``ps`` shows to every user."""

from __future__ import annotations

import re
from collections.abc import Sequence

from storage.database.urls import MASK, without_passwords

_ARGUMENT = re.compile(r"(://[^:/]*:).+(?=@)", re.DOTALL)  # unlike in running text, a password may contain blanks


def hide_passwords(arguments: Sequence[str]) -> None:
    """Replace the process title if the command line holds a password.

    The password stays visible for the fraction of a second in which Python starts. The environment variable
    ``RETABLE_STORAGE`` and the file ``~/.pgpass`` are safer places for it.
    """
    title = " ".join(without_passwords(_ARGUMENT.sub(rf"\1{MASK}", argument)) for argument in arguments)
    if title != " ".join(arguments):
        from setproctitle import setproctitle

        setproctitle(title)
