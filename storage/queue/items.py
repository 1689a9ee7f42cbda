"""Work items as the queue returns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from storage.values import WorkKind


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """A work item that a worker holds under a lease."""

    id: int
    study_id: int
    kind: WorkKind
    split: int
    seed: int
    recipe: dict[str, Any] | None
    """All fields, flat; None for a new search item, whose recipe the sampler still has to draw."""
    trial_number: int | None
    """Optuna's number. If an earlier holder created the trial already, the new holder continues that trial."""
    attempt: int
    """The fencing token: only the holder of the latest attempt can write."""
    worker: str
    """Name of the holder."""
    note: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class HeldItem:
    """A work item under a running lease, as any process may read it."""

    id: int
    kind: WorkKind
    trial_number: int | None
    worker: str
    """Name of the holder."""
    split: int
    note: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WaitingItem:
    """A work item with a given recipe that no worker holds."""

    id: int
    split: int
    recipe: dict[str, Any]
    note: dict[str, Any]


def leased_item(row: Row[Any], *, attempt: int, worker: str) -> WorkItem:
    """The item of a row of ``retable_work`` that was just leased to ``worker``."""
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
