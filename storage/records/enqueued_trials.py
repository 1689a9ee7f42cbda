"""Trials that were enqueued in Optuna: warm starts, recipes by hand, retries.

Until a worker takes such a trial, only Optuna's tables hold its recipe. Its origin is nowhere else even later. This
copy outlives Optuna's study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from storage.database import rows
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import EnqueuedTrial


@dataclass(frozen=True, kw_only=True)
class EnqueuedRecord:
    """An enqueued trial."""

    number: int
    """Optuna's number."""
    params: dict[str, Any]
    """Values by parameter name that the trial has to take."""
    attributes: dict[str, Any]
    """User attributes that the trial was enqueued with; plain JSON."""


_RULES = {"number": rows.integer(0, rows.COUNT), "params": rows.recipe(), "attributes": rows.document()}


class EnqueuedTrialStore:
    """Keeps the enqueued trials of all studies of one database. Its methods are repeated during an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeatable
    def add(self, study_id: int, trials: Iterable[EnqueuedRecord]) -> None:
        """Record trials, except those whose number is recorded already."""
        values = [
            {"study_id": study_id, "number": t.number, "params": t.params, "attributes": t.attributes} for t in trials
        ]
        if not values:
            return
        with self._database.writing() as connection:
            connection.execute(self._database.insert(EnqueuedTrial).values(values).on_conflict_do_nothing())

    @repeatable
    def all(self, study_id: int) -> list[EnqueuedRecord]:
        """The recorded trials of a study, by number."""
        columns = (EnqueuedTrial.number, EnqueuedTrial.params, EnqueuedTrial.attributes)
        with self._database.reading() as connection:
            found = connection.execute(
                select(*columns).where(EnqueuedTrial.study_id == study_id).order_by(EnqueuedTrial.number)
            )
            return [EnqueuedRecord(**check_row(EnqueuedTrial.__tablename__, row._mapping, _RULES)) for row in found]

    @repeatable
    def remove(self, study_id: int, numbers: Collection[int]) -> None:
        """Remove the records of trials that will never begin."""
        if not numbers:
            return
        cancelled = (EnqueuedTrial.study_id == study_id, EnqueuedTrial.number.in_(list(numbers)))
        with self._database.writing() as connection:
            connection.execute(delete(EnqueuedTrial).where(*cancelled))
