"""Connections that a server refuses for good, such as a wrong password, and outages, which end by themselves.

psycopg gives no SQLSTATE for a failed connection, so `refusal` reads its message, which a server may translate, and
asks the server whether it accepts connections at all.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine

from storage.database.urls import shown_url, without_secrets
from storage.database.waiting import has_given_up, waiting
from storage.errors import StorageError, StorageUnavailableError

if TYPE_CHECKING:
    import psycopg

_WHERE = "in --storage or RETABLE_STORAGE"
_REFUSALS = {
    r"password authentication failed|no password supplied": f"check user and password {_WHERE}, or in ~/.pgpass",
    r'database ".*" does not exist': "create it: {createdb}",
    r'role ".*" does not exist|is not permitted to log in': f"check the user {_WHERE}",
    r"permission denied for database": "the owner of the database has to grant CONNECT to this user",
    r"pg_hba\.conf|authentication failed": "the server's pg_hba.conf has to allow this user, database and machine",
    r"invalid .*value|SSL was required|certificate|does not support SSL": f"check the parameters {_WHERE}",
}
"""Regular expressions of PostgreSQL's messages, and what to do."""
_UNKNOWN_HOST = re.compile(r"failed to resolve host .*\[Errno (-2|-5)\]")  # EAI_NONAME, EAI_NODATA
_ADDRESS = ("host", "hostaddr", "port", "connect_timeout", "service")  # parameters that name the server
_TOO_MANY = re.compile(r"too many|reserved")  # connections: they become fewer


class AccessRefused(StorageError):
    """The database refuses this user, does not exist, or its host is unknown. Waiting does not help."""


def refusal(error: psycopg.OperationalError, url: URL, parameters: dict[str, Any], *, first: bool) -> str | None:
    """Why the server refuses the connection for good, and what to do; None: an outage.

    Args:
        error: of ``psycopg.connect``.
        parameters: the arguments of ``psycopg.connect``.
        first: no earlier connection of this process succeeded. Later, an unknown host is an outage of the name server.
    """
    text = " ".join(str(error).split())
    if first and _UNKNOWN_HOST.search(text):
        return f"there is no host {url.host!r}: check its name {_WHERE}"
    advice = next((advice for pattern, advice in _REFUSALS.items() if re.search(pattern, text)), None)
    pgconn = error.pgconn
    asked = pgconn is not None and (pgconn.needs_password or pgconn.used_password)
    if not (advice or asked):
        return None
    if _TOO_MANY.search(text) or not _accepts_connections(parameters):
        return None
    reason = re.split(r"failed: (?:[A-Z]+: +)?", text)[-1]
    return f"{reason}; {(advice or f'check user and password {_WHERE}').format(createdb=_createdb(url))}"


def _accepts_connections(parameters: dict[str, Any]) -> bool:
    """Whether the server is up: not starting, and not shutting down."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    server = {key: value for key, value in parameters.items() if key in _ADDRESS}
    return pq.PGconn.ping(make_conninfo(**server).encode()) == pq.Ping.OK


def _createdb(url: URL) -> str:
    """The command that creates the database of ``url``, to be copied."""
    host = url.query.get("host", url.host)
    options = {"-h": host if isinstance(host, str) else None, "-p": url.port, "-U": url.username}
    given = [part for name, value in options.items() if value for part in (name, str(value))]
    return shlex.join(["createdb", *given, str(url.database)])


def refuse_for_good(engine: Engine) -> None:
    """Let an engine for PostgreSQL raise `AccessRefused` instead of the driver's error, and stop on request."""
    url, connect, first = engine.url, engine.dialect.connect, True

    def connect_or_refuse(*arguments: Any, **parameters: Any) -> Any:
        nonlocal first
        import psycopg

        if has_given_up():
            raise StorageUnavailableError(f"the database {shown_url(url)} was not asked again after a request to stop")
        try:
            with waiting():
                connection = connect(*arguments, **parameters)
        except psycopg.OperationalError as error:
            reason = refusal(error, url, parameters, first=first)
            if reason is None:
                raise
            name = shown_url(url)
            raise AccessRefused(f"the database {name} cannot be used: {without_secrets(reason, url)}") from None
        first = False
        return connection

    # An event listener would have to make the connection itself, so that no other listener is called.
    setattr(engine.dialect, "connect", connect_or_refuse)  # noqa: B010


def check_sqlite_access(file: Path, error: sqlite3.OperationalError) -> None:
    """Raise `AccessRefused` if SQLite's ``error`` comes from missing permissions on the file or its folder."""
    lacking = next((path for path in (file, file.parent) if path.exists() and not os.access(path, os.W_OK)), None)
    if lacking is not None and error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        raise not_writable(file, lacking) from error


def not_writable(file: Path, lacking: Path) -> AccessRefused:
    """The error for a SQLite database of which this user must not write to the file or folder ``lacking``."""
    return AccessRefused(
        f"the database {file} cannot be opened: this user must not write to {lacking} ({os.strerror(errno.EACCES)}). "
        f"{sharing_advice(file)}"
    )


def sharing_advice(file: Path) -> str:
    """What to do if this user must not write to a SQLite database, as a sentence."""
    beside = [file.with_name(file.name + suffix) for suffix in ("-wal", "-shm", ".lock")]
    parts = (file, *beside, file.absolute().parent)
    existing = shlex.join(str(part) for part in parts if part.exists())
    return f"If a colleague of your group owns it, that user can share it: chmod g+w {existing}"
