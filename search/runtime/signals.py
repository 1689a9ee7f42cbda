"""How a process is asked to stop: once kindly, twice at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from search.runtime.errors import EXIT_INTERRUPTED

GRACE = 60.0
"""Seconds that the epoch under way has to end after a stop was requested; then it is abandoned. Shorter than the time
that Kubernetes or Slurm should be given (see ``deploy/``)."""


class StopSignals:
    """Counts SIGINT, SIGTERM and SIGHUP while installed.

    The first asks to stop: `requested` turns true, the epoch under way is finished if it ends within ``grace`` seconds
    and a checkpoint is written, else it is abandoned (`overdue`) and the last checkpoint stands; the trial is handed
    back. The second ends the process at once; its lease then runs out and the trial is adopted from its last
    checkpoint.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(
        self,
        *,
        parent: int | None = None,
        at_once: Callable[[], None] | None = None,
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            parent: a process whose end also asks to stop, so that workers do not outlive the ``start`` that they serve.
            at_once: called before the process ends at the second signal.
            grace: seconds.
            clock: seconds, monotonic.
        """
        self._received = 0
        self._parent = parent
        self._at_once = at_once
        self.grace = grace
        self._clock = clock
        self._since: float | None = None

    def install(self) -> StopSignals:
        """Take the signals over; only the main thread may."""
        for number in self.SIGNALS:
            signal.signal(number, self._receive)
        return self

    @property
    def requested(self) -> bool:
        """Whether to stop at the next convenient moment."""
        if self._since is None and self._parent is not None and os.getppid() != self._parent:
            self._since = self._clock()
        return self._since is not None

    @property
    def overdue(self) -> bool:
        """Whether the time for a convenient moment is over."""
        return self.requested and self._since is not None and self._clock() - self._since >= self.grace

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self._since is None:
            self._since = self._clock()
        if self._received > 1:
            self._leave()

    def _leave(self) -> NoReturn:
        if self._at_once is not None:
            self._at_once()
        # No further clean-up on purpose: the user wants out, and leases cope with a dead worker anyway.
        os._exit(EXIT_INTERRUPTED)
