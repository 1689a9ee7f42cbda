"""The connection to a SQL database: transactions, and errors in plain words.

    database = connect("sqlite:///retable.db")
    with database.writing() as connection:
        connection.execute(...)

`storage.stores.open_stores` opens a database together with all its stores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy.exc
from sqlalchemy import URL, Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

from storage.database.access import sharing_advice
from storage.database.clock import Clock, database_clock
from storage.database.engine import READ_ONLY, make_engine
from storage.database.outages import is_outage, repeatable, retry, sqlstate
from storage.database.tables import Identity
from storage.database.urls import parse_url, shown_url, without_secrets
from storage.errors import SchemaError, StorageError, StorageUnavailableError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_DISK_FULL = "53100"
_POSTGRESQL_NO_TABLE = "42P01"

T = TypeVar("T")


class Database:
    """A database and its SQLAlchemy engine.

    Threads may share it, and it may be pickled into a spawned process. A forked process must not use it.
    """

    def __init__(self, url: URL, clock: Clock = database_clock, *, outage_timeout: float = 0.0) -> None:
        self.url = url
        """With the password: for connecting only. Messages show `name`."""
        self.clock = clock
        """Returns the SQL expression for the current time (`storage.database.clock`)."""
        self.outage_timeout = outage_timeout
        """Seconds for which `storage.database.outages.repeatable` methods are repeated in an outage; 0: not at all."""
        self.engine: Engine = make_engine(url)
        self._identity: str | None = None

    @property
    def name(self) -> str:
        """The URL without secrets, for messages and logs."""
        return shown_url(self.url)

    @property
    def place(self) -> str:
        """Where the data are, for people: the file of a SQLite database, as the shell takes it; else `name`."""
        return str(self.url.database) if self.is_sqlite else self.name

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
        """Return ``call()``, repeated in an outage for `outage_timeout` seconds (`storage.database.outages.retry`)."""
        return retry(call, self.outage_timeout)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: committed when the block ends, rolled back if the block raises.

        Raises:
            StorageUnavailableError: the database does not answer. The transaction wrote nothing or everything.
            SchemaError: a table is missing.
            StorageError: the database refuses a statement.
        """
        with self.translated_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Writers never wait for it.

        Raises:
            StorageError: as in `writing`.
        """
        with self.translated_errors(), self.engine.connect() as connection:
            connection = connection.execution_options(**{READ_ONLY: True})
            with connection.begin():
                yield connection

    def insert(self, table: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
        """An ``INSERT`` in the dialect of this database, which supports ``ON CONFLICT``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @repeatable
    def now(self) -> float:
        """The current time in Unix seconds on the database's clock."""
        with self.reading() as connection:
            return float(connection.execute(select(self.clock())).scalar_one())

    @property
    def identity(self) -> str:
        """Random identifier, 32 hexadecimal digits, that the migrations stored. Copies of the database share it.

        Raises:
            StorageError: it is missing or invalid.
        """
        if self._identity is None:
            self._identity = self._read_identity()
        return self._identity

    @repeatable
    def _read_identity(self) -> str:
        with self.reading() as connection:
            stored = connection.execute(select(Identity.identity)).scalar_one_or_none()
        if not isinstance(stored, str) or not re.fullmatch(r"[0-9a-f]{32}", stored):
            raise StorageError(
                f"the database {self.name} holds no valid identity (table {Identity.__tablename__}): restore a backup"
            )
        return stored

    @repeatable
    def size(self) -> int:
        """The size of the database in bytes, including SQLite's write-ahead log."""
        if self.is_sqlite:
            file = Path(str(self.url.database))
            parts = (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")))
            return sum(part.stat().st_size for part in parts if part.is_file())
        with self.reading() as connection:
            return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())

    def close(self) -> None:
        """Close all connections. The next use opens new ones."""
        self.engine.dispose()

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn SQLAlchemy's errors into those of `storage.errors`, without secrets in the messages."""
        try:
            yield
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlalchemy.exc.SQLAlchemyError) -> StorageError:
        cause = getattr(error, "orig", None) or error
        # The primary message alone, because PostgreSQL's full message also quotes the refused row.
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
        text = without_secrets(" ".join((primary or str(cause)).split()), self.url)
        if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or sqlstate(cause) == _POSTGRESQL_DISK_FULL:
            return StorageUnavailableError(f"the disk of the database {self.name} is full: {text}")
        if getattr(cause, "sqlite_errorname", "").startswith("SQLITE_CANTOPEN"):
            # An outage all the same: the disk may return, or the process have too many open files.
            return StorageUnavailableError(f"the database file {self.name} cannot be opened or created: {text}")
        if is_outage(error):
            return StorageUnavailableError(f"the database {self.name} does not answer: {text}")
        if getattr(cause, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
            advice = sharing_advice(Path(str(self.url.database)))
            return StorageError(f"the database {self.name} cannot be written to: {text}. {advice}")
        if "no such table" in text or sqlstate(cause) == _POSTGRESQL_NO_TABLE:
            return SchemaError(
                f"the database {self.name} lacks a table ({text}); `search start --study NAME` creates the tables"
            )
        return StorageError(f"the database {self.name} refused a statement: {text}")


def connect(url: str, *, clock: Clock = database_clock, outage_timeout: float = 0.0) -> Database:
    """Create the `Database` of ``url``. It opens connections when they are first needed.

    Args:
        outage_timeout: seconds, see `Database.outage_timeout`.

    Raises:
        StorageError: the URL is neither ``sqlite:///FILE`` nor ``postgresql://...``, the folder of the file is missing
            or on a network file system, or the driver is missing.
    """
    return Database(parse_url(url), clock, outage_timeout=outage_timeout)
