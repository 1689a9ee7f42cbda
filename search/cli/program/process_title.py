"""Hides passwords of URLs in the process title, which ``ps`` shows to every user, and in all output."""

from __future__ import annotations

import os
from collections.abc import Sequence

from storage.database.urls import MASK, remember_passwords, without_passwords

WITH_PASSWORDS = ("RETABLE_STORAGE", "RETABLE_MLFLOW")
"""Environment variables whose URLs may hold a password."""


TOKEN_OPTION = "--token"  # noqa: S105 - a name


def hide_passwords(arguments: Sequence[str]) -> None:
    """Replace the process title if the command line holds a secret: a password of a URL, or the dashboard's token.

    `search.runtime.console` recognises the passwords from then on, too.

    The password stays visible for the fraction of a second in which Python starts. The environment variable
    ``RETABLE_STORAGE`` and the file ``~/.pgpass`` are safer places for it.
    """
    remember_passwords([*arguments, *(os.environ.get(name, "") for name in WITH_PASSWORDS)])
    title = " ".join(map(without_passwords, _without_tokens(arguments)))
    if title != " ".join(arguments):
        from setproctitle import setproctitle

        setproctitle(title)


def _without_tokens(arguments: Sequence[str]) -> list[str]:
    """The arguments with `MASK` in place of the access token of ``search dashboard``."""
    hidden: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, equals, _ = argument.partition("=")
        is_token = before == TOKEN_OPTION
        hidden.append(MASK if is_token else f"{name}={MASK}" if name == TOKEN_OPTION and equals else argument)
    return hidden
