"""Checks whether a database exists. Fast, because it does not import SQLAlchemy."""

from __future__ import annotations

from storage.database.urls import sqlite_file
from storage.errors import StorageError


class NoStudy(StorageError):
    """There is no study: the database does not exist or holds none."""


def check_database(url: str) -> None:
    """Check that the file of a SQLite database exists, because connecting would create it. Accept any PostgreSQL URL.

    Raises:
        StorageError: not a URL of SQLite or PostgreSQL.
        NoStudy: no such file.
    """
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise NoStudy(
            f"there is no database {url} yet. `search start --study NAME` begins a study in it; --storage URL names "
            "another one"
        )
