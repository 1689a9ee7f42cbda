"""A work item in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna

from search.runtime.errors import SearchError
from search.worker.lease import LeaseKeeper
from storage.queue.items import WorkItem
from storage.values import WorkKind
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport


class LeaseLost(SearchError):
    """Another worker holds the item now. Raised to leave the training without writing a checkpoint over its own."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A work item in training."""

    item: WorkItem
    trial: optuna.Trial | None
    """The Optuna trial that it stands for; None for confirmations and refits."""
    lease: LeaseKeeper
    stop_requested: Callable[[], bool]
    """Whether to stop after the epoch under way, with a checkpoint."""
    overdue: Callable[[], bool]
    """Whether to leave it in the middle."""
    out_of_time: Callable[[Recipe, EpochReport], bool] = lambda recipe, report: False
    """Whether it would end too late for the study's deadline; asked after an epoch, and obeyed like a stop."""

    @property
    def name(self) -> str:
        """For people."""
        return called(self.item)


def called(item: WorkItem) -> str:
    """A work item for people."""
    if item.kind is WorkKind.SEARCH:
        return f"trial {item.trial_number}" if item.trial_number is not None else "a new trial"
    return f"{item.kind} with seed {item.seed} on split {item.split}"
