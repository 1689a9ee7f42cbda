"""Locks that one process of all on a database holds."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from storage.database.access import not_writable
from storage.database.connection import Database

AT_ONCE = 1.0  # seconds from which a message says what is waited for
log = logging.getLogger(__name__)


class Purpose(enum.Enum):
    """What a lock protects."""

    TABLES = "the tables"
    STUDIES = "a study"
    """Its creation takes several transactions."""
    TRIALS = "trials of a study"


_KEYS = {Purpose.TABLES: 0x5E7AB1E, Purpose.STUDIES: 0x5E7AB1F, Purpose.TRIALS: 0x5E7AB20}
"""Of PostgreSQL's advisory locks: arbitrary numbers, the same in every process."""


@contextmanager
def exclusive(database: Database, purpose: Purpose) -> Iterator[None]:
    """Hold a lock, after waiting for the process that holds it. It ends with the process.

    For SQLite it is a lock file, because a lock inside the database would block Optuna's own connection as well. In
    PostgreSQL it belongs to a session without a transaction, because the server ends an idle transaction.

    Raises:
        AccessRefused: this user must not write to the lock file.
        StorageUnavailableError: the database does not answer.
    """
    waits = f"another process creates {purpose.value} in {database.name}; waiting for its end"
    if database.is_sqlite:
        from filelock import FileLock, Timeout

        file = Path(str(database.url.database))
        lock = FileLock(f"{file}.lock")
        try:
            lock.acquire(timeout=AT_ONCE)
        except Timeout:
            log.info(waits)
            lock.acquire()
        except PermissionError as error:  # a colleague who shares the database made the lock
            raise not_writable(file, Path(lock.lock_file)) from error
        try:
            yield
        finally:
            lock.release()
        return
    key = {"key": _KEYS[purpose]}
    with database.translated_errors(), database.engine.connect() as opened:
        connection = opened.execution_options(isolation_level="AUTOCOMMIT")
        if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar_one():
            log.info(waits)
            connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
