"""Waiting for a database that does not answer, and ending that wait when the process has to stop.

The main thread of a process waits inside `waiting`; its handler of Ctrl-C asks `is_waiting` and calls `give_up`. This
module imports nothing slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NOTICEABLE = 1.0
"""Seconds from which a call counts as waiting. Shorter calls end by themselves, so that an orderly stop is possible."""
STOP_TIMEOUT = 3.0  # seconds for which an outage is waited for after a stop was requested

_since: ContextVar[float | None] = ContextVar("_since", default=None)


class _Process:
    """State of this process."""

    given_up = False
    stop_requested: Callable[[], bool] | None = None


@contextmanager
def waiting() -> Iterator[None]:
    """The block waits for the database, or may have to."""
    token = _since.set(_since.get() or time.monotonic())
    try:
        yield
    finally:
        _since.reset(token)


def is_waiting() -> bool:
    """Whether this thread has been waiting for the database for longer than `NOTICEABLE`."""
    since = _since.get()
    return since is not None and time.monotonic() - since > NOTICEABLE


def give_up() -> None:
    """Wait for the database no more in this process: every further outage is raised at once."""
    _Process.given_up = True


def has_given_up() -> bool:
    """Whether `give_up` was called."""
    return _Process.given_up


def stop_waiting_when(requested: Callable[[], bool] | None) -> None:
    """Set the condition under which an outage is waited for only `STOP_TIMEOUT` seconds; None: under none.

    It replaces an earlier condition, and `give_up` is undone.
    """
    _Process.stop_requested, _Process.given_up = requested, False


def must_stop(waited: float) -> bool:
    """Whether to wait no longer after ``waited`` seconds, because of `give_up` or a request to stop."""
    requested = _Process.stop_requested
    return _Process.given_up or (waited >= STOP_TIMEOUT and requested is not None and requested())
