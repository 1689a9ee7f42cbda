"""Database URLs: what is accepted, what it becomes, and how it may be shown."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.errors import StorageError

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    # SQLAlchemy reads a bare postgresql:// differently from release to release, so the driver is always written out.
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_VALID = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


def parse_url(url: str) -> URL:
    """Check a database URL and write it out in full: driver named, SQLite file absolute.

    Raises:
        StorageError: not a URL, another database than SQLite and PostgreSQL, or a SQLite database with parameters or in
            memory (each worker would have one of its own).
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is left out of the message, and the cause out of the chain: either may quote a password.
        raise StorageError(f"the database URL cannot be read; {_VALID}") from None
    if parsed.drivername not in _DRIVERS:
        raise StorageError(f"{parsed.drivername} databases are not supported; {_VALID}")
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    return _absolute_file(parsed) if parsed.drivername == "sqlite" else parsed


def _absolute_file(url: URL) -> URL:
    """Name the SQLite file absolutely, so that a worker started in another folder finds the same one."""
    if url.host:
        raise StorageError(f"sqlite://{url.host} names a host; a SQLite file has three slashes: sqlite:///FILE")
    if not url.database or url.database == ":memory:":
        raise StorageError(f"a SQLite database in memory cannot be shared by workers; {_VALID}")
    if url.query or url.database.startswith("file:"):
        raise StorageError("a SQLite URL takes no parameters; give sqlite:///FILE")
    return url.set(database=str(Path(url.database).absolute()))


def secrets_of(url: URL) -> tuple[str, ...]:
    """Every text in ``url`` that must not be shown: the password and what parameters such as ``sslpassword`` hold."""
    hidden = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if "pass" in key.lower():
            hidden += [value] if isinstance(value, str) else list(value)
    return tuple(hidden)


def without_secrets(text: str, url: URL) -> str:
    """``text`` with every secret of ``url`` replaced by ``***``."""
    for secret in secrets_of(url):
        text = text.replace(secret, "***")
    return text


def shown_url(url: URL) -> str:
    """``url`` as people may see it, its secrets as ``***``."""
    query = {key: "***" if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)
