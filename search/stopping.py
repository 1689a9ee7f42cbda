"""How a process is asked to stop: once kindly, twice at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from search.exit_codes import EXIT_INTERRUPTED


class StopSignals:
    """Counts SIGINT, SIGTERM and SIGHUP while installed.

    The first asks to stop: `requested` turns true, the epoch under way is finished, a checkpoint is written and the
    trial handed back. The second ends the process at once; its lease then runs out and the trial is adopted from its
    last checkpoint.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, *, parent: int | None = None, at_once: Callable[[], None] | None = None) -> None:
        """
        Args:
            parent: a process whose end also asks to stop, so that workers do not outlive the ``start`` that they serve.
            at_once: called before the process ends at the second signal.
        """
        self._received = 0
        self._parent = parent
        self._at_once = at_once

    def install(self) -> StopSignals:
        """Take the signals over; only the main thread may."""
        for number in self.SIGNALS:
            signal.signal(number, self._receive)
        return self

    @property
    def requested(self) -> bool:
        """Whether to stop at the next convenient moment."""
        return self._received > 0 or (self._parent is not None and os.getppid() != self._parent)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self._received > 1:
            self._leave()

    def _leave(self) -> NoReturn:
        if self._at_once is not None:
            self._at_once()
        # No further clean-up on purpose: the user wants out, and leases cope with a dead worker anyway.
        os._exit(EXIT_INTERRUPTED)
