"""Stop signals: the first asks for a graceful stop, the second ends the process immediately."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from search.runtime.errors import EXIT_INTERRUPTED
from storage.database.waiting import give_up, is_waiting, stop_waiting_when

GRACE = 60.0
"""Seconds that the current epoch has to end after a stop was requested; then it is abandoned. Kubernetes and Slurm must
wait longer than this before they kill a worker (see ``deploy/``)."""

log = logging.getLogger(__name__)


class StopSignals:
    """Counts SIGINT, SIGTERM and SIGHUP while installed.

    After the first signal, `requested` is true; ``grace`` seconds later `overdue` is true as well. A worker finishes
    its epoch and writes a checkpoint, unless `overdue` becomes true before that; then it releases its trial.

    While the main thread waits for a database that does not answer, the first signal raises KeyboardInterrupt there.

    The second signal ends the process immediately. Its lease then expires, and another worker continues the trial from
    its last checkpoint.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(
        self,
        *,
        parent: int | None = None,
        before_exit: Callable[[], None] | None = None,
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            parent: process id of this process's parent, whose end counts as the first signal, so that workers do not
                outlive the ``start`` that launched them.
            before_exit: called at the second signal, before the process ends.
            grace: seconds, see `GRACE`.
            clock: monotonic time in seconds.
        """
        self._received = 0
        self._parent = parent
        self._before_exit = before_exit
        self.grace = grace
        self._clock = clock
        self._since: float | None = None

    def install(self) -> StopSignals:
        """Install the signal handlers; only the main thread may.

        SIGHUP stays ignored where it is: ``nohup`` asks for that, so that the end of a terminal stops nothing.
        """
        for number in self.SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        stop_waiting_when(lambda: self.requested)
        return self

    @property
    def requested(self) -> bool:
        """Whether to stop at the end of the current epoch."""
        if self._since is None and self._parent is not None and os.getppid() != self._parent:
            self._since = self._clock()
        return self._since is not None

    @property
    def overdue(self) -> bool:
        """Whether to stop now: `grace` seconds have passed since the stop was requested."""
        return self.requested and self._since is not None and self._clock() - self._since >= self.grace

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self._since is None:
            self._since = self._clock()
        if self._received > 1:
            self._leave()
        if is_waiting():
            give_up()
            log.warning("stopping without the database, which does not answer; stored results and checkpoints are kept")
            raise KeyboardInterrupt

    def _leave(self) -> NoReturn:
        if self._before_exit is not None:
            self._before_exit()
        # Deliberately without clean-up: the user wants an immediate end, and leases recover the work of a dead worker.
        os._exit(EXIT_INTERRUPTED)
