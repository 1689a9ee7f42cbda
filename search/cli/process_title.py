"""Hides passwords of database URLs in the process title, which ``ps`` shows to every user."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")
_PARAMETER = re.compile(r"([?&][^=&\s]*pass[^=&\s]*=)[^&\s]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """``text`` with ``***`` in place of the passwords in its URLs."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***", text))


def hide_passwords(arguments: Sequence[str]) -> None:
    """Replace the process title if the command line holds a password.

    While Python starts, for a fraction of a second, the password is still visible. The environment
    (``RETABLE_STORAGE``) or ``~/.pgpass`` are safer places.
    """
    line = " ".join(arguments)
    title = without_passwords(line)
    if title != line:
        from setproctitle import setproctitle

        setproctitle(title)
