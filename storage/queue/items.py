"""A work item in a worker's hands, and the fence around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, or_

from storage.database.clock import Clock
from storage.database.tables import Work
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


@dataclass(frozen=True, kw_only=True)
class HeldItem:
    """A piece of work and who is at it."""

    id: int
    kind: WorkKind
    trial_number: int | None
    worker: str
    split: int
    note: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WaitingItem:
    """A piece of work with a given recipe that waits for a worker."""

    id: int
    split: int
    recipe: dict[str, Any]
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


def is_expired(clock: Clock) -> ColumnElement[bool]:
    """Condition for an item's lease to have run out."""
    return and_(Work.state == WorkState.LEASED.value, Work.lease_until <= clock())


def is_live(clock: Clock) -> ColumnElement[bool]:
    """Condition for somebody to work on an item."""
    return and_(Work.state == WorkState.LEASED.value, Work.lease_until > clock())


def is_waiting(clock: Clock) -> ColumnElement[bool]:
    """Condition for an item to wait for a worker: handed back, lost, or never begun."""
    return or_(is_expired(clock), Work.state == WorkState.QUEUED.value)


def is_at_home(home: str | None) -> ColumnElement[bool]:
    """Condition for an item to be bound to no home, or to this one."""
    return Work.home.is_(None) if home is None else or_(Work.home.is_(None), Work.home == home)


def is_begun_search() -> ColumnElement[bool]:
    """Condition for an item to count against the budget of its study."""
    return and_(Work.kind == WorkKind.SEARCH.value, Work.state != WorkState.FAILED.value)


def is_settled() -> ColumnElement[bool]:
    """Condition for an item to have its outcome."""
    return Work.state.in_([WorkState.STORED.value, WorkState.FAILED.value])
