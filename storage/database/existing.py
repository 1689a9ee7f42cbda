"""Whether there is a database to look into, found out without importing SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

from storage.errors import StorageError

SQLITE = "sqlite:///"


class NoStudy(StorageError):
    """There is no study to speak of: no database, or an empty one."""


def check_database(url: str) -> None:
    """Check that there is a database to look into: a SQLite file that does not exist is not created by asking.

    Raises:
        StorageError: a URL that cannot be used.
        NoStudy: no such file.
    """
    if url.startswith(SQLITE):
        # The common case, told without importing SQLAlchemy.
        file = Path(url.removeprefix(SQLITE).partition("?")[0])
        if not file.is_file():
            raise NoStudy(f"there is no database {url} yet; `search start` sets it up (or say --storage URL)")
        return
    from storage.database.urls import parse_url

    parse_url(url)
