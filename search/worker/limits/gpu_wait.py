"""Waiting for GPU memory that other programs hold."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from search.runtime.errors import SearchError
from search.worker.task import LeaseLost, Task

if TYPE_CHECKING:
    from trainer.training.folds.memory.device_memory import Shortage

LONGEST_WAIT = 300.0  # seconds that a worker waits with one work item, before it leaves the item to other workers
PAUSE = 2.0  # seconds between two looks at the GPU
REST = 60.0  # seconds after which a worker that left an item to others takes the next

log = logging.getLogger(__name__)


class GpuBusy(SearchError):
    """Other programs have held the GPU's memory for so long that the work item is left to other workers."""


class GpuWait:
    """The waits of one work item for GPU memory. Its lease is renewed meanwhile."""

    def __init__(
        self,
        task: Task,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            clock: monotonic time in seconds.
            sleep: as `time.sleep`.
        """
        self._task, self._clock, self._sleep = task, clock, sleep
        self._until: float | None = None

    def until_over(self, shortage: Shortage, problem: str) -> bool:
        """Wait until the memory is free.

        Args:
            problem: what lacks memory, for the log.

        Returns:
            False if the item has to be released, because a stop is requested or the study's deadline is near.

        Raises:
            LeaseLost: another worker holds the item.
            GpuBusy: all waits together took `LONGEST_WAIT`.
        """
        if self._until is None:
            self._until = self._clock() + LONGEST_WAIT
        log.warning("%s waits for GPU memory: %s", self._task.name, problem)
        while True:
            # At least one pause: what is free again may have been too little a moment ago.
            self._sleep(PAUSE)
            if self._task.lease.lost:
                raise LeaseLost
            if self._task.stop_requested() or self._task.limit.passed():
                return False
            if self._clock() >= self._until:
                raise GpuBusy(problem)
            if shortage.is_over:
                return True
