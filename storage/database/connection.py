"""One SQL database, Optuna's tables and ours side by side.

database = connect("postgresql://team:secret@db.example/retable")
create_schema(database)             # storage.schema: once, by `search start`
queue = WorkQueue(database)         # storage.queue.work_queue
optuna.load_study(study_name="aug_tuning", storage=database.optuna_storage())
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy.exc
from sqlalchemy import URL, Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

from storage.database.clock import Clock, database_clock
from storage.database.engine import READ_ONLY, make_engine
from storage.database.urls import parse_url, shown_url, without_secrets
from storage.errors import SchemaError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from storage.fleet_storage import FleetStorage

OUTAGE_TIMEOUT = 1800.0
"""Seconds after which an outage is no longer taken for a restart, in processes that wait for work or for results.
Commands that answer at once do not wait at all."""
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds

log = logging.getLogger(__name__)

_SQLITE_OUTAGES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_FULL")
# Connection lost; operator intervention (restart); too many connections and no memory; deadlock and serialization.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
# A full disk (53100, SQLITE_FULL) is one of them: what is to be stored is kept until there is room again.
_POSTGRESQL_OUTAGES = ("08", "57P", "53100", "53200", "53300", "40", "25P03")
_POSTGRESQL_DISK_FULL = "53100"

T = TypeVar("T")
P = ParamSpec("P")
_retrying: ContextVar[bool] = ContextVar("_retrying", default=False)


def retry(call: Callable[[], T], timeout: float, *, sleep: Callable[[float], None] = time.sleep) -> T:
    """``call()``, repeated with growing pauses while the database does not answer.

    A `retry` inside of ``call`` repeats nothing: the outermost one of a thread does, so that timeouts do not multiply.
    Errors other than an outage, and an outage of more than ``timeout`` seconds of pauses, are raised as they are.

    Args:
        call: may safely run twice, see `repeatable`.
        timeout: seconds; 0: ``call`` runs once.
    """
    if _retrying.get():
        return call()
    pause, waited = FIRST_PAUSE, 0.0
    outermost = _retrying.set(True)
    try:
        while True:
            try:
                return call()
            except Exception as error:
                if waited >= timeout or not is_outage(error):
                    raise
                log.warning("the database does not answer; trying again in %.1f s", pause)
            sleep(pause)
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)
    finally:
        _retrying.reset(outermost)


class OnDatabase(Protocol):
    """A store."""

    _database: Database


S = TypeVar("S", bound="OnDatabase | Database")


def repeatable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """A store's method, or a function of a `Database`, repeated whole for `Database.outage_timeout` seconds while the
    database does not answer.

    The connection may break after the commit and before the answer. So mark only what may run again after it has
    succeeded: it leaves the same in the database, and its second answer serves the caller as well. Do not mark a method
    that adds a row or a number with every call (`storage.records.trials.RunStore.add_export`), nor one whose caller has
    less time than the timeout (`storage.queue.work_queue.WorkQueue.renew`).
    """

    @functools.wraps(method)
    def repeated(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = store if isinstance(store, Database) else store._database
        return database.retry(functools.partial(method, store, *args, **kwargs))

    return repeated


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
        """``call()``, repeated in an outage for `outage_timeout` seconds; see `storage.database.connection.retry`."""
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

    def optuna_storage(self) -> FleetStorage:
        """Optuna's storage on this database, cached, working through this engine.

        The schema must have been created. Picklable; heartbeats are off (leases replace them).

        Raises:
            SchemaError: Optuna's tables are missing or belong to another Optuna release.
            StorageUnavailableError: the database does not answer.
        """
        from storage.optuna_storage import open_optuna_storage

        with self.own_errors():
            return open_optuna_storage(self)

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
        if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or _sqlstate(cause) == _POSTGRESQL_DISK_FULL:
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


def is_outage(error: BaseException) -> bool:
    """Whether ``error``, ours, SQLAlchemy's or Optuna's, means that the database does not answer now.

    Optuna wraps the driver's errors in its own, so the causes are looked at too. Who holds a lease then waits and tries
    again; any other error will not go away by waiting.
    """
    seen: BaseException | None = error
    while seen is not None:
        # PendingRollbackError: a connection broke in the middle of one of Optuna's transactions, which it then tried to
        # commit.
        if isinstance(
            seen, (StorageUnavailableError, sqlalchemy.exc.TimeoutError, sqlalchemy.exc.PendingRollbackError)
        ):
            return True
        if isinstance(seen, sqlalchemy.exc.DBAPIError):
            return seen.connection_invalidated or _driver_outage(seen)
        seen = seen.__cause__
    return False


def _driver_outage(error: sqlalchemy.exc.DBAPIError) -> bool:
    sqlite_name = getattr(error.orig, "sqlite_errorname", None)
    if sqlite_name is not None:
        return str(sqlite_name).startswith(_SQLITE_OUTAGES)
    state = _sqlstate(error.orig)
    if state is None:
        # psycopg reports a connection that could not be made, or broke, without a state.
        return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
    return state.startswith(_POSTGRESQL_OUTAGES)


def _sqlstate(error: BaseException | None) -> str | None:
    return getattr(error, "sqlstate", None)
