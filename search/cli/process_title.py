"""Hides passwords of database URLs in the process title, which ``ps`` shows to every user."""

from __future__ import annotations

import re
from collections.abc import Sequence

_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")
_URL_PARAMETER = re.compile(r"([?&][^=&\s]*pass[^=&\s]*=)[^&\s]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """``text`` with ``***`` in place of the passwords in its URLs."""
    return _URL_PARAMETER.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", text))


def hide_passwords(arguments: Sequence[str]) -> None:
    """Replace the process title if the command line holds a password.

    The password stays visible for the fraction of a second in which Python starts. The environment variable
    ``RETABLE_STORAGE`` and the file ``~/.pgpass`` are safer places for it.
    """
    line = " ".join(arguments)
    title = without_passwords(line)
    if title != line:
        from setproctitle import setproctitle

        setproctitle(title)
