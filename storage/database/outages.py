"""Outages of the database: recognising them, and repeating calls until they end.

- `repeatable` decorates the methods of the stores that are safe to repeat.
- `retry` repeats any call.
- `is_outage` tells outages from other errors.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

import sqlalchemy.exc

from storage.database.waiting import must_stop, waiting
from storage.errors import StorageUnavailableError

OUTAGE_TIMEOUT = 1800.0
"""Seconds for which workers, and commands that wait for results, wait for the database: longer than a restart takes.
All other commands fail at once."""
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds
_SQLITE_OUTAGES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_FULL")
# Prefixes of SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html: connection broken (08), restart
# (57P), disk full (53100), out of memory (53200), too many connections (53300), deadlock or serialization failure (40),
# idle transaction ended (25P03). A full disk counts, so that a worker keeps its result until there is room again.
_POSTGRESQL_OUTAGES = ("08", "57P", "53100", "53200", "53300", "40", "25P03")

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
_retrying: ContextVar[bool] = ContextVar("_retrying", default=False)


def retry(call: Callable[[], T], timeout: float, *, sleep: Callable[[float], None] = time.sleep) -> T:
    """Return ``call()``, repeated with growing pauses during an outage.

    Nested calls run once: only the outermost `retry` of a thread repeats, so that timeouts do not multiply.

    A request to stop ends the wait (`storage.database.waiting`).

    Args:
        call: safe to run again after it has succeeded, see `repeatable`.
        timeout: raise the outage once the pauses add up to this many seconds; 0: ``call`` runs once.
        sleep: replaced in tests.

    Raises:
        Exception: any error of ``call`` that is no outage, at once; an outage, after ``timeout``.
    """
    if _retrying.get():
        return call()
    pause, waited = FIRST_PAUSE, 0.0
    token = _retrying.set(True)
    try:
        while True:
            try:
                return call() if waited == 0 else _waiting_call(call)
            except Exception as error:
                if waited >= timeout or must_stop(waited) or not is_outage(error):
                    raise
                log.warning("the database does not answer; trying again in %.1f s", pause)
            with waiting():
                sleep(pause)
            waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)
    finally:
        _retrying.reset(token)


def _waiting_call(call: Callable[[], T]) -> T:
    with waiting():
        return call()


class HasOutageTimeout(Protocol):
    """What `repeatable` needs of a database."""

    outage_timeout: float


class OnDatabase(Protocol):
    """What `repeatable` needs of a store."""

    @property
    def _database(self) -> HasOutageTimeout: ...


S = TypeVar("S", bound="OnDatabase | HasOutageTimeout")


def repeatable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Decorator: call the method again during an outage, for at most the database's ``outage_timeout`` seconds.

    For methods of a store, methods of `storage.database.connection.Database`, and functions whose first argument is a
    database.

    The connection may break after the commit and before the answer, so the method may run again after it has succeeded.
    Decorate only methods whose second run does no harm and whose second answer serves the caller as well: setting a
    state is repeatable, adding 1 to a budget is not.

    Do not decorate methods whose caller cannot wait (`storage.queue.work_queue.WorkQueue.renew`).
    """

    @functools.wraps(method)
    def repeated(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = cast(HasOutageTimeout, getattr(store, "_database", None) or store)
        return retry(functools.partial(method, store, *args, **kwargs), database.outage_timeout)

    return repeated


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` means that the database does not answer at present, so that waiting may help.

    Accepts errors of Retable, SQLAlchemy and Optuna. Optuna wraps the errors of SQLAlchemy, so this function also
    follows ``__cause__``.
    """
    current: BaseException | None = error
    while current is not None:
        # PendingRollbackError: a connection broke inside one of Optuna's transactions, which it then tried to commit.
        if isinstance(
            current, (StorageUnavailableError, sqlalchemy.exc.TimeoutError, sqlalchemy.exc.PendingRollbackError)
        ):
            return True
        if isinstance(current, sqlalchemy.exc.DBAPIError):
            return current.connection_invalidated or _is_driver_outage(current)
        current = current.__cause__
    return False


def _is_driver_outage(error: sqlalchemy.exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        # Errors of the driver itself, such as text that is not UTF-8, have no name. They are no outages.
        return str(getattr(error.orig, "sqlite_errorname", "")).startswith(_SQLITE_OUTAGES)
    state = sqlstate(error.orig)
    if state is None:
        # psycopg gives no SQLSTATE where connecting failed or the connection broke.
        return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
    return state.startswith(_POSTGRESQL_OUTAGES)


def sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of a PostgreSQL driver's error: five characters; None where the error has none."""
    return getattr(error, "sqlstate", None)
