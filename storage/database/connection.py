"""One SQL database, Optuna's tables and ours side by side.

database = connect("postgresql://team:secret@db.example/retable")
create_schema(database)             # storage.schema: once, by `search start`
queue = WorkQueue(database)         # storage.queue.work_queue
optuna.load_study(study_name="aug_tuning", storage=open_optuna_storage(database))  # storage.optuna_storage
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy.exc
from sqlalchemy import URL, Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

from storage.database.clock import Clock, database_clock
from storage.database.engine import READ_ONLY, make_engine
from storage.database.outages import is_outage, repeatable, retry, sqlstate
from storage.database.urls import parse_url, shown_url, without_secrets
from storage.errors import SchemaError, StorageError, StorageUnavailableError

_POSTGRESQL_DISK_FULL = "53100"

T = TypeVar("T")


class Database:
    """A database and its engine. Safe to share between threads and to send to a spawned process; not to fork."""

    def __init__(self, url: URL, clock: Clock = database_clock, *, outage_timeout: float = 0.0) -> None:
        self.url = url
        """With the password: for connecting only. People see `name`."""
        self.clock = clock
        """Makes the SQL expression for "now"; see `storage.database.clock`."""
        self.outage_timeout = outage_timeout
        """Seconds for which `repeatable` calls are repeated in an outage; 0: they raise at once."""
        self.engine: Engine = make_engine(url)

    @property
    def name(self) -> str:
        """The URL as it may be shown and logged."""
        return shown_url(self.url)

    @property
    def is_sqlite(self) -> bool:
        return self.url.drivername == "sqlite"

    def __repr__(self) -> str:
        return f"Database({self.name})"

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "clock": self.clock, "outage_timeout": self.outage_timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Database.__init__(self, **state)

    def retry(self, call: Callable[[], T]) -> T:
        """``call()``, repeated in an outage for `outage_timeout` seconds; see `storage.database.outages.retry`."""
        return retry(call, self.outage_timeout)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: committed when the block ends, undone whole if it raises.

        Raises:
            StorageUnavailableError: the database does not answer; trying again later may help.
            StorageError: anything else that the database objects to.
        """
        with self.own_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads and never makes a writer wait.

        Raises:
            StorageError: as `writing`.
        """
        with self.own_errors(), self.engine.connect() as connection:
            connection = connection.execution_options(**{READ_ONLY: True})
            with connection.begin():
                yield connection

    def insert(self, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
        """An ``INSERT`` that can say ``ON CONFLICT``, in this database's dialect."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @repeatable
    def now(self) -> float:
        """Unix seconds on the database's clock."""
        with self.reading() as connection:
            return float(connection.execute(select(self.clock())).scalar_one())

    @repeatable
    def size(self) -> int:
        """Bytes that the database takes, SQLite's write-ahead log included."""
        if self.is_sqlite:
            file = Path(str(self.url.database))
            parts = (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")))
            return sum(part.stat().st_size for part in parts if part.is_file())
        with self.reading() as connection:
            return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self.engine.dispose()

    @contextmanager
    def own_errors(self) -> Iterator[None]:
        """Turn SQLAlchemy's errors into those of `storage.errors`, without secrets."""
        try:
            yield
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlalchemy.exc.SQLAlchemyError) -> StorageError:
        cause = getattr(error, "orig", None) or error
        # PostgreSQL's full text goes on to quote the row that it refused.
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        text = without_secrets(" ".join((primary or str(cause)).split()), self.url)
        if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or sqlstate(cause) == _POSTGRESQL_DISK_FULL:
            return StorageUnavailableError(f"the disk of the database {self.name} is full: {text}")
        if is_outage(error):
            return StorageUnavailableError(f"the database {self.name} does not answer: {text}")
        if "no such table" in text or getattr(cause, "sqlstate", None) == "42P01":
            return SchemaError(f"the database {self.name} lacks a table ({text}); `search start` sets a database up")
        return StorageError(f"the database {self.name} refused: {text}")


def connect(url: str, *, clock: Clock = database_clock, outage_timeout: float = 0.0) -> Database:
    """Check ``url`` and make its engine. Connections are opened when first needed.

    Args:
        outage_timeout: seconds, see `Database.outage_timeout`.

    Raises:
        StorageError: a URL of another kind than ``sqlite:///FILE`` and ``postgresql://...``, a missing folder, or a
            missing driver.
    """
    return Database(parse_url(url), clock, outage_timeout=outage_timeout)
