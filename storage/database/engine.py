"""SQLAlchemy engines for SQLite and PostgreSQL, set up for many workers on one database."""

from __future__ import annotations

import functools
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from storage.database.filesystems import network_mount
from storage.errors import StorageError

BUSY_TIMEOUT = 60.0  # seconds that a connection waits for SQLite's one write lock
POOL_SIZE = 1
"""Connections that a quiet process keeps: one, so that 64 workers fit the 100 of a PostgreSQL server as installed."""
POOL_OVERFLOW = 1
"""Further connections while several threads of a process are busy at the same moment, closed when given back. Leases
and signs of life are renewed in milliseconds: a worker's threads rarely meet, and then wait for each other."""
POOL_TIMEOUT = 60.0  # seconds that a thread waits for a connection of this process
CONNECT_TIMEOUT = 10  # seconds
READ_ONLY = "retable_read_only"
"""Execution option of a connection whose transactions only read."""

_POSTGRESQL_KEEPALIVE: dict[str, int] = {
    "connect_timeout": CONNECT_TIMEOUT,
    # A server that vanished without closing its connections is noticed after about a minute, not after hours.
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}

_POSTGRESQL_SESSION = (
    # Optuna stores naive times: a reader whose session is in another zone would take fresh ones for stale.
    "SET TIME ZONE 'UTC'",
    # A worker suspended in the middle of a transaction holds row locks; the server ends it after this long.
    "SET idle_in_transaction_session_timeout = '60s'",
)


def make_engine(url: URL) -> Engine:
    """An engine for a URL of `storage.database.urls.parse_url`, with the settings that make concurrent workers safe.

    SQLite runs in WAL, waits up to `BUSY_TIMEOUT` for the write lock, and begins every transaction that may write with
    ``BEGIN IMMEDIATE``: a transaction that first read and then wants to write could otherwise fail at once, or (as in
    Optuna) act on what another process has changed meanwhile. PostgreSQL sessions are in UTC, and a connection is
    tested before it is used.

    Nothing is connected yet, except that the folder of a SQLite file is looked at.

    Raises:
        StorageError: the folder of the SQLite file does not exist or is on a network file system, or psycopg is not
            installed.
    """
    options: dict[str, Any] = {
        # Rows hold whole recipes and predictions: an error shows the statement without them.
        "hide_parameters": True,
        "json_serializer": functools.partial(json.dumps, allow_nan=False),
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_timeout": POOL_TIMEOUT,
    }
    if url.drivername == "sqlite":
        _require_folder(url)
        # The threads of a worker use a connection one after another, never at once: that is what the pool is for.
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    given = {key: value for key, value in _POSTGRESQL_KEEPALIVE.items() if key not in url.query}
    try:
        engine = create_engine(
            url, connect_args={"application_name": "retable", **given}, pool_pre_ping=True, **options
        )
    except ImportError as error:
        raise StorageError("PostgreSQL needs the psycopg package: pip install -e '.[postgres]'") from error
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _require_folder(url: URL) -> None:
    path = Path(str(url.database))
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} of the database {path.name} does not exist; create it first")
    if path.is_dir():
        raise StorageError(f"{path} is a folder; the URL of a SQLite database names a file")
    mount = network_mount(path)
    if mount is not None:
        kind, point = mount
        raise StorageError(
            f"{path} lies on a network file system ({kind}, mounted at {point}), where SQLite loses data: its locks "
            "and its shared memory do not reach other machines. Use PostgreSQL instead:\n"
            "    --storage postgresql://USER@HOST/retable\n"
            f"or, for this machine alone, a file on a disk of its own: --storage sqlite:////var/tmp/{path.name}"
        )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy begins transactions itself (below); the driver must not begin others on its own.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Turn write-ahead logging on, which a file then keeps.

    SQLite's busy timeout does not cover this statement: of several processes that open a new file, all but one fail at
    once. So it is repeated here for as long.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise StorageError(f"SQLite cannot switch its file to write-ahead logging (it stays in mode {mode!r})")
        return


def _begin_sqlite(connection: Connection) -> None:
    # Reading alone needs no lock in WAL, so whoever looks on never delays a worker.
    reads_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL_SESSION:
            cursor.execute(statement)
    connection.commit()
