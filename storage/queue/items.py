"""Work items as the queue returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from storage.database import rows
from storage.database.rows import check_row
from storage.database.tables import Work
from storage.values import RUNGS_NOTE, WorkKind, WorkState


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
    trial_number: int | None
    split: int
    recipe: dict[str, Any]
    note: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RungValues:
    """A search trial at the rungs of successive halving, as a rule of promotion compares it with others."""

    work_id: int
    number: int
    """Optuna's number."""
    epochs: int
    """Number of epochs of the whole training."""
    values: Mapping[int, float | None]
    """The reported value by epoch, at each rung that the trial has reached; None: not finite."""
    paused_after: int | None
    """The epoch of the rung at which the trial is paused; None: it is not paused."""
    home: str | None
    """Identity of the home folder that holds the checkpoint of a paused trial."""


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
    "paused_after": rows.optional(rows.integer(1, rows.COUNT)),
    "home": rows.optional(rows.text()),
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


def rung_values(row: Row[Any]) -> RungValues | None:
    """As `rung_values_of`.

    Args:
        row: of ``retable_work``, with id, trial_number, note, paused_after and home.
    """
    checked = checked_work(row)
    return rung_values_of(
        row.id, row.trial_number, checked["note"], paused_after=checked["paused_after"], home=checked["home"]
    )


def rung_values_of(
    work_id: int,
    number: int,
    note: Mapping[str, Any],
    *,
    paused_after: int | None = None,
    home: str | None = None,
) -> RungValues | None:
    """The rungs that a trial has reached, by the note of its work item; None if it has reached none.

    Raises:
        DamagedRowError: the note is not valid.
    """
    rungs = note.get(RUNGS_NOTE)
    if rungs is None:
        return None
    try:
        values = {int(epoch): value for epoch, value in rungs["values"].items()}
        row = {"id": work_id, "epochs": rungs["epochs"], **{f"rung {epoch}": value for epoch, value in values.items()}}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise rows.damaged(Work.__tablename__, work_id, f"the note has no valid {RUNGS_NOTE!r}") from error
    rules = dict.fromkeys(row, rows.optional(rows.number())) | {
        "id": rows.integer(0),
        "epochs": rows.integer(1, rows.COUNT),
    }
    check_row(Work.__tablename__, row, rules)
    return RungValues(
        work_id=work_id, number=number, epochs=row["epochs"], values=values, paused_after=paused_after, home=home
    )
