"""Checks whether a database exists. Fast, because the usual case does not import SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

SQLITE_PREFIX = "sqlite:///"


class NoStudy(ValueError):  # noqa: N818 - named for the fact
    """There is no study: the database does not exist or holds none."""


def check_database(url: str) -> None:
    """Check that the file of a SQLite database exists, because connecting would create it. Accept any PostgreSQL URL.

    Raises:
        StorageError: not a URL of SQLite or PostgreSQL.
        NoStudy: no such file.
    """
    if url.startswith(SQLITE_PREFIX):
        file = Path(url.removeprefix(SQLITE_PREFIX).partition("?")[0])
        if not file.is_file():
            raise NoStudy(f"there is no database {url} yet; `search start` creates it (or name another: --storage URL)")
        return
    from storage.database.urls import parse_url

    parse_url(url)
