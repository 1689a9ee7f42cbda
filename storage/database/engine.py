"""SQLAlchemy engines for SQLite and PostgreSQL, configured for many workers on one database."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import OperationalError

from storage.database.access import AccessRefused, check_sqlite_access, refuse_for_good
from storage.database.filesystems import network_mount
from storage.database.waiting import has_given_up, waiting
from storage.errors import DamagedRowError, StorageError

BUSY_TIMEOUT = 60.0  # seconds that a connection waits for SQLite's one write lock
POOL_SIZE = 1
"""Connections that an idle process keeps. With one each, 64 workers fit into the default limit of PostgreSQL, 100."""
POOL_OVERFLOW = 1
"""Further connections while several threads of a process are busy at once, closed after use. One is enough: renewing a
lease or sending a heartbeat takes milliseconds, so a worker's threads rarely compete, and then one waits."""
POOL_TIMEOUT = 60.0  # seconds that a thread waits for a free connection of its process
CONNECT_TIMEOUT = 10  # seconds
_BUSY_SLICE = 1.0  # seconds of one attempt to get the write lock
_BUSY_PRAGMA = "PRAGMA busy_timeout = {:.0f}"  # milliseconds
_NOT_UTF8 = re.compile(r"Could not decode to UTF-8 (column '[^']*')")  # of Python's sqlite3, which gives it no code
_FIRST_TABLE = re.compile(r"\bFROM ([A-Za-z_]\w*)")
READ_ONLY = "retable_read_only"
"""Execution option of connections whose transactions only read."""

_POSTGRESQL_KEEPALIVE: dict[str, int] = {
    "connect_timeout": CONNECT_TIMEOUT,
    # Detects a server that vanished without closing its connections after about a minute instead of hours.
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}

_POSTGRESQL_SESSION = (
    # Optuna stores times without a time zone. A session in another zone would take recent times for old ones.
    "SET TIME ZONE 'UTC'",
    # A worker that is suspended inside a transaction holds row locks. The server ends its session after this time.
    "SET idle_in_transaction_session_timeout = '60s'",
)


def make_engine(url: URL) -> Engine:
    """An engine for a URL of `storage.database.urls.parse_url`. It makes concurrent workers safe and does not connect.

    - SQLite's file gets the mode that the umask allows, so that a group can share it.
    - SQLite uses write-ahead logging (WAL) and waits up to `BUSY_TIMEOUT` for the write lock.
    - SQLite begins every transaction that may write with ``BEGIN IMMEDIATE``. Otherwise a transaction that first reads
      and then writes could fail without waiting or, as in Optuna, act on data that another process has changed since.
    - PostgreSQL sessions are in UTC, and each connection is tested before use.

    Raises:
        StorageError: the folder of the SQLite file does not exist or is on a network file system, or psycopg is not
            installed.
    """
    options: dict[str, Any] = {
        # Error messages show statements without values, which may be whole recipes and predictions.
        "hide_parameters": True,
        "json_serializer": functools.partial(json.dumps, allow_nan=False),
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_timeout": POOL_TIMEOUT,
    }
    if url.drivername == "sqlite":
        _check_sqlite_file(url)
        # Threads may share a connection, because the pool gives it to one thread at a time.
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False}, **options)
        event.listen(engine, "do_connect", _create_sqlite_file)
        event.listen(engine, "connect", functools.partial(_prepare_sqlite, path=Path(str(url.database))))
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _refuse_undecodable_text)
        return engine
    keepalive = {key: value for key, value in _POSTGRESQL_KEEPALIVE.items() if key not in url.query}
    try:
        engine = create_engine(
            url, connect_args={"application_name": "retable", **keepalive}, pool_pre_ping=True, **options
        )
    except ImportError as error:
        raise StorageError("PostgreSQL needs the package psycopg: pip install -e '.[postgres]'") from error
    refuse_for_good(engine)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _check_sqlite_file(url: URL) -> None:
    path = Path(str(url.database))
    if path.parent.is_file():
        raise StorageError(f"{path.parent} is a file, not a folder that could hold the database {path.name}")
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} of the database {path.name} does not exist; create it first")
    if path.is_dir():
        raise StorageError(f"{path} is a folder; the URL of a SQLite database must name a file")
    if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise AccessRefused(
            f"the database {path} cannot be created: this user cannot write to {path.parent}; --storage names another"
        )
    mount = network_mount(path)
    if mount is not None:
        kind, point = mount
        raise StorageError(
            f"{path} lies on a network file system ({kind}, mounted at {point}), where SQLite loses data because its "
            "locks and shared memory do not reach other machines. Use PostgreSQL instead:\n"
            "    --storage postgresql://USER@HOST/retable\n"
            f"or, for this machine alone, a file on a local disk: --storage sqlite:////var/tmp/{path.name}"
        )


def _create_sqlite_file(_dialect: object, _record: object, arguments: Sequence[Any], _options: object) -> None:
    """Create the database file, if it is missing, with the mode that the umask allows.

    SQLite itself never lets the group write, even where the umask does. Its log and shared memory get the mode of the
    file. An existing file is not opened: closing it would release the locks that SQLite holds on it in this process.
    """
    # SQLite reports a file that exists, and opens it, or says why it cannot.
    with contextlib.suppress(OSError):
        os.close(os.open(arguments[0], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object, *, path: Path) -> None:
    # SQLAlchemy begins the transactions (`_begin_sqlite`), so the driver must not.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(_BUSY_PRAGMA.format(1000 * BUSY_TIMEOUT))
    try:
        _switch_to_wal(cursor)
    except sqlite3.OperationalError as error:
        check_sqlite_access(path, error)
        raise
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Turn write-ahead logging on; the database file keeps this setting.

    SQLite's busy timeout does not cover the statement: of several processes that open a new file at once, all but one
    fail immediately. So this function repeats it for `BUSY_TIMEOUT`.
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
            raise StorageError(f"SQLite cannot use write-ahead logging here (the file stays in mode {mode!r})")
        return


def _begin_sqlite(connection: Connection) -> None:
    # In WAL mode reading needs no lock, so read-only transactions never delay a worker.
    if connection.get_execution_options().get(READ_ONLY, False):
        connection.exec_driver_sql("BEGIN")
        return
    with waiting():
        deadline = time.monotonic() + BUSY_TIMEOUT
        connection.exec_driver_sql(_BUSY_PRAGMA.format(1000 * _BUSY_SLICE))
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                # Python handles Ctrl-C only between two calls of SQLite.
                busy = getattr(error.orig, "sqlite_errorname", "") == "SQLITE_BUSY"
                if not busy or has_given_up() or time.monotonic() > deadline:
                    raise
            else:
                break
        connection.exec_driver_sql(_BUSY_PRAGMA.format(1000 * BUSY_TIMEOUT))


def _refuse_undecodable_text(context: ExceptionContext) -> None:
    """
    Raises:
        DamagedRowError: the error means that a row holds text that is not UTF-8.
    """
    found = _NOT_UTF8.match(str(context.original_exception))
    if found is None or not isinstance(context.original_exception, sqlite3.Error):
        return
    execution = context.execution_context
    table = _FIRST_TABLE.search(str(getattr(execution, "statement", None) or ""))
    raise DamagedRowError(
        f"the database is damaged: in {table[1] if table else 'a table'}, {found[1]} holds text that is not UTF-8. "
        "Restore a backup of the database, or correct the row"
    )


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for statement in _POSTGRESQL_SESSION:
            cursor.execute(statement)
    connection.commit()
