"""A work item in a worker's hands, and the fence around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row

from storage.tables import Work
from storage.values import WorkKind, WorkState


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """A piece of work in a worker's hands."""

    id: int
    study_id: int
    kind: WorkKind
    split: int
    seed: int
    recipe: dict[str, Any] | None
    """Complete and flat; None for a new search item, whose recipe is still to be asked of Optuna."""
    trial_number: int | None
    """Optuna's number once asked; the trial to go on with, if another worker had begun it."""
    attempt: int
    """The fence: only the holder of the latest attempt can write."""
    worker: str
    note: dict[str, Any]


def leased_item(row: Row[Any], *, attempt: int, worker: str) -> WorkItem:
    """A row of ``retable_work`` as handed out to ``worker``."""
    return WorkItem(
        id=row.id,
        study_id=row.study_id,
        kind=WorkKind(row.kind),
        split=row.split,
        seed=row.seed,
        recipe=row.recipe,
        trial_number=row.trial_number,
        attempt=attempt,
        worker=worker,
        note=row.note,
    )


def is_held(item: WorkItem) -> tuple[ColumnElement[bool], ...]:
    """Conditions for ``item`` to be still in the hands of the worker that it was given to.

    The time is not among them: a lease that ran out while nobody else took the item is as good as before.
    """
    return (
        Work.id == item.id,
        Work.attempt == item.attempt,
        Work.worker == item.worker,
        Work.state == WorkState.LEASED.value,
    )


def is_settled() -> ColumnElement[bool]:
    """Condition for an item to have its outcome."""
    return Work.state.in_([WorkState.STORED.value, WorkState.FAILED.value])
