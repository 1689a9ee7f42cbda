"""A work item in training, as the training function receives it, and its waits for GPU memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import optuna

from search.runtime.errors import SearchError
from search.worker.lease import LeaseKeeper
from search.worker.time_limit import Limit, NoLimit
from storage.queue.items import RungValues, WorkItem
from storage.values import TrialOutcome, WorkKind

if TYPE_CHECKING:
    from trainer.training.folds.device_memory import Shortage

LONGEST_WAIT = 300.0  # seconds that a worker waits with one work item, before it leaves the item to other workers
PAUSE = 2.0  # seconds between two looks at the GPU
REST = 60.0  # seconds after which a worker that left an item to others takes the next

log = logging.getLogger(__name__)


class LeaseLost(SearchError):
    """Another worker holds the item now. Ends the training before it overwrites that worker's checkpoint."""


class GpuBusy(SearchError):
    """Other programs have held the GPU's memory for so long that the work item is left to other workers."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A work item in training."""

    item: WorkItem
    trial: optuna.Trial | None
    """The Optuna trial of a search item; None for confirmations and refits."""
    lease: LeaseKeeper
    stop_requested: Callable[[], bool]
    """Whether to stop after the current epoch, with a checkpoint."""
    overdue: Callable[[], bool]
    """Whether to abandon the current epoch."""
    limit: Limit = field(default_factory=NoLimit)
    """What the study's deadline leaves of the training."""

    @property
    def name(self) -> str:
        """Description for log messages."""
        return describe(self.item)


@dataclass(frozen=True, kw_only=True)
class Paused:
    """A training that pauses: its checkpoint is written."""

    reached: RungValues
    """With the epoch after which it pauses, and the home of the checkpoint."""
    outcome: TrialOutcome
    """That of a trial pruned after this epoch."""


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


def describe(item: WorkItem) -> str:
    """Description of a work item for log messages, such as ``trial 7``."""
    if item.kind is WorkKind.SEARCH:
        return f"trial {item.trial_number}" if item.trial_number is not None else "a new trial"
    return f"{item.kind} with seed {item.seed} on split {item.split}"
