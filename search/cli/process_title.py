"""Hides passwords of URLs in the process title, which ``ps`` shows to every user, and in all output."""

from __future__ import annotations

import os
from collections.abc import Sequence

from storage.database.urls import remember_passwords, without_passwords

WITH_PASSWORDS = ("RETABLE_STORAGE", "RETABLE_MLFLOW")
"""Environment variables whose URLs may hold a password."""


def hide_passwords(arguments: Sequence[str]) -> None:
    """Replace the process title if the command line holds a password, and let `search.runtime.console` recognise it.

    The password stays visible for the fraction of a second in which Python starts. The environment variable
    ``RETABLE_STORAGE`` and the file ``~/.pgpass`` are safer places for it.
    """
    remember_passwords([*arguments, *(os.environ.get(name, "") for name in WITH_PASSWORDS)])
    title = " ".join(map(without_passwords, arguments))
    if title != " ".join(arguments):
        from setproctitle import setproctitle

        setproctitle(title)
