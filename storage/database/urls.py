"""Database URLs: checking, completing, and hiding their secrets."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.errors import StorageError

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    # Which driver postgresql:// means depends on the release of SQLAlchemy, so this table names it.
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_VALID = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def parse_url(url: str) -> URL:
    """Check a database URL, and add the driver or make the path of a SQLite file absolute.

    Raises:
        StorageError: not a URL, neither SQLite nor PostgreSQL, or a SQLite URL with parameters or of a database in
            memory, which processes cannot share.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the message nor the chain of causes may quote the URL, because it may contain a password.
        raise StorageError(f"the database URL cannot be read; {_VALID}") from None
    if parsed.drivername not in _DRIVERS:
        raise StorageError(f"{parsed.drivername} databases are not supported; {_VALID}")
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    return _absolute_file(parsed) if parsed.drivername == "sqlite" else parsed


def _absolute_file(url: URL) -> URL:
    """Make the path of the SQLite file absolute, so that a worker in another folder finds the same file."""
    if url.host:
        raise StorageError(f"sqlite://{url.host} names a host; a SQLite URL has three slashes: sqlite:///FILE")
    if not url.database or url.database == ":memory:":
        raise StorageError(f"a SQLite database in memory cannot be shared by workers; {_VALID}")
    if url.query or url.database.startswith("file:"):
        raise StorageError("a SQLite URL takes no parameters; give sqlite:///FILE")
    return url.set(database=str(Path(url.database).absolute()))


def secrets_of(url: URL) -> tuple[str, ...]:
    """The secrets in ``url``: the password, and the values of parameters such as ``sslpassword``."""
    secrets = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if "pass" in key.lower():
            secrets += [value] if isinstance(value, str) else list(value)
    return tuple(secrets)


def without_secrets(text: str, url: URL) -> str:
    """``text`` with every secret of ``url`` replaced by ``***``."""
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return text


def shown_url(url: URL) -> str:
    """``url`` for messages and logs, with ``***`` in place of its secrets."""
    query = {key: "***" if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)
