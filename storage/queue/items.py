"""Work items as the queue returns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from storage.database import rows
from storage.database.rows import check_row
from storage.database.tables import Work
from storage.values import WorkKind, WorkState


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


WORK_RULES = {
    **dict.fromkeys(("id", "study_id"), rows.integer(0)),
    "kind": rows.one_of(WorkKind),
    "split": rows.integer(-1, rows.COUNT),
    "seed": rows.integer(),
    "recipe": rows.optional(rows.recipe()),
    "trial_number": rows.optional(rows.integer(0, rows.COUNT)),
    "attempt": rows.integer(0, rows.COUNT),
    "lost_workers": rows.integer(0, rows.COUNT),
    "worker": rows.optional(rows.text()),
    "state": rows.one_of(WorkState),
    "note": rows.note(),
}
"""What is valid in a row of ``retable_work``."""


def checked_work(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """The values of a row with any of the columns of `WORK_RULES`.

    Raises:
        DamagedRowError: a value is not valid.
    """
    return check_row(
        Work.__tablename__, row._mapping, {name: rule for name, rule in WORK_RULES.items() if name in row._mapping}
    )


def leased_item(row: Row[Any], *, attempt: int, worker: str) -> WorkItem:
    """The item of a row of ``retable_work`` that was just leased to ``worker``.

    Raises:
        DamagedRowError: a value is not valid.
    """
    checked_work(row)
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
