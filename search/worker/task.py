"""A work item in training, as the training function receives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import optuna

from search.runtime.errors import SearchError
from search.worker.lease import LeaseKeeper
from search.worker.limits.limit import Limit, NoLimit
from storage.queue.items import RungValues, WorkItem
from storage.values import PROBE_NOTE, TrialOutcome, WorkKind


class LeaseLost(SearchError):
    """Another worker holds the item now. Ends the training before it overwrites that worker's checkpoint."""


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


def describe(item: WorkItem) -> str:
    """Description of a work item for log messages, such as ``trial 7``."""
    if item.kind is WorkKind.SEARCH:
        kind = "probe" if item.note.get(PROBE_NOTE) else "trial"
        return f"{kind} {item.trial_number}" if item.trial_number is not None else "a new trial"
    return f"{item.kind} with seed {item.seed} on split {item.split}"
