"""The database's clock, which all workers share.

The clocks of the workers differ, jump, and stand still while a machine sleeps. Compared with them, leases would end too
early or too late. So all stored times are Unix seconds of the database server, computed inside the SQL statement that
needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Clock = Callable[[], ColumnElement[float]]
"""Returns the SQL expression for the current time in Unix seconds. Tests replace it by a clock that they control."""


class _UnixNow(FunctionElement[float]):
    type = Double()
    inherit_cache = True


@compiles(_UnixNow, "sqlite")
def _sqlite_now(_element: _UnixNow, _compiler: Any, **_options: Any) -> str:
    # unixepoch('now', 'subsec') would need SQLite 3.42; 2440587.5 is the Julian day of 1 January 1970, 0:00 UTC.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_UnixNow, "postgresql")
def _postgresql_now(_element: _UnixNow, _compiler: Any, **_options: Any) -> str:
    # now() would be the start of the transaction, which may have waited for a lock since then.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def database_clock() -> ColumnElement[float]:
    """Unix seconds at which the statement runs, with a precision of 0.1 ms on SQLite and 1 µs on PostgreSQL."""
    return _UnixNow()
