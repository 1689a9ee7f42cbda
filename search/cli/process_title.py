"""What ``ps`` shows of a command line that names a database."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")
_PARAMETER = re.compile(r"([?&][^=&\s]*pass[^=&\s]*=)[^&\s]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """``text`` with the passwords of all URLs in it as ``***``."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***", text))


def hide_passwords(arguments: Sequence[str]) -> None:
    """Where a command line holds a password, show the process without it from now on.

    Until then, for the fraction of a second that Python takes to start, every user of the machine could read it: the
    environment (``RETABLE_STORAGE``) or ``~/.pgpass`` are better places for it.
    """
    line = " ".join(arguments)
    shown = without_passwords(line)
    if shown != line:
        from setproctitle import setproctitle

        setproctitle(shown)
