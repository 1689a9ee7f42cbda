"""Outages of the database: how an error is recognised as one, and which calls are repeated until it ends."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

import sqlalchemy.exc

from storage.errors import StorageUnavailableError

OUTAGE_TIMEOUT = 1800.0
"""Seconds after which an outage is no longer taken for a restart, in processes that wait for work or for results.
Commands that answer at once do not wait at all."""
FIRST_PAUSE = 0.5  # seconds
LONGEST_PAUSE = 30.0  # seconds
_SQLITE_OUTAGES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_FULL")
# Connection lost; operator intervention (restart); too many connections and no memory; deadlock and serialization.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
# A full disk (53100, SQLITE_FULL) is one of them: the worker keeps its result until there is room again.
_POSTGRESQL_OUTAGES = ("08", "57P", "53100", "53200", "53300", "40", "25P03")

log = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
_retrying: ContextVar[bool] = ContextVar("_retrying", default=False)


def retry(call: Callable[[], T], timeout: float, *, sleep: Callable[[float], None] = time.sleep) -> T:
    """Return ``call()``, repeated with growing pauses while the database does not answer.

    Only the outermost `retry` of a thread repeats, so that timeouts do not multiply. An error other than an outage is
    raised at once. An outage is raised once the pauses add up to ``timeout``.

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


class HasOutageTimeout(Protocol):
    """A database, as far as `repeatable` needs it."""

    outage_timeout: float


class OnDatabase(Protocol):
    """A store of a database."""

    @property
    def _database(self) -> HasOutageTimeout: ...


S = TypeVar("S", bound="OnDatabase | HasOutageTimeout")


def repeatable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Decorate a method of a store, or a function of a database: repeat it whole while the database does not answer,
    for at most the database's ``outage_timeout`` seconds.

    The connection may break after the commit and before the answer. So mark only what may run again after it has
    succeeded: it leaves the same in the database, and its second answer serves the caller as well. Do not mark a method
    that adds a row or a number with every call (`storage.records.exports.ExportStore.add`), nor one whose caller has
    less time than the timeout (`storage.queue.work_queue.WorkQueue.renew`).
    """

    @functools.wraps(method)
    def repeated(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        database = cast(HasOutageTimeout, getattr(store, "_database", None) or store)
        return retry(functools.partial(method, store, *args, **kwargs), database.outage_timeout)

    return repeated


def is_outage(error: BaseException) -> bool:
    """Whether ``error``, Retable's, SQLAlchemy's or Optuna's, means that the database does not answer now.

    Optuna wraps the driver's errors in its own, so the causes are looked at too. Any other error will not go away by
    waiting.
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
    state = sqlstate(error.orig)
    if state is None:
        # psycopg reports a connection that could not be made, or broke, without a state.
        return isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
    return state.startswith(_POSTGRESQL_OUTAGES)


def sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's five-character code of a driver's error; None where it has none."""
    return getattr(error, "sqlstate", None)
