"""Stored exports: the recipe and folder of each exported model, its expected score, and its leaderboard scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from storage.database import rows
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import Export, columns_of
from storage.errors import StorageError
from storage.values import finite_or_none


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """An exported model with its submission."""

    id: int
    study_id: int
    created: float
    """Unix seconds on the database's clock."""
    folder: str
    """Path of the model folder, on the machine that wrote it."""
    recipe: dict[str, Any]
    score: float | None
    """Cross-validated metric; higher is better. None where it is not finite."""
    score_se: float | None
    notes: dict[str, Any]
    """Further facts for reports; plain JSON."""
    forecast: dict[str, Any] | None
    """The score on the test images that was expected at the export; None where no forecast was possible."""
    public_score: float | None
    """On the competition's public leaderboard, with the sign of the study's metric: higher is better."""
    private_score: float | None
    """Likewise, on the private leaderboard."""


class ExportStore:
    """Adds exports, reads them, and records their leaderboard scores.

    `add` and `record_scores` are not repeated during an outage: `add` would add a second export, and the second
    `record_scores` would return the new scores instead of the old ones.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        study_id: int,
        *,
        folder: str,
        recipe: Mapping[str, Any],
        score: float | None,
        score_se: float | None,
        notes: Mapping[str, Any] | None = None,
        forecast: Mapping[str, Any] | None = None,
    ) -> int:
        """Record an export and return its id.

        Raises:
            StorageError: JSON cannot represent the forecast, for example because a number is not finite.
        """
        _check_forecast(forecast)
        with self._database.writing() as connection:
            return connection.execute(
                insert(Export)
                .values(
                    study_id=study_id,
                    created=self._database.clock(),
                    folder=folder,
                    recipe=dict(recipe),
                    score=finite_or_none(score),
                    score_se=finite_or_none(score_se),
                    notes=dict(notes or {}),
                    forecast=None if forecast is None else dict(forecast),
                )
                .returning(Export.id)
            ).scalar_one()

    @repeatable
    def all(self, study_id: int) -> list[ExportRecord]:
        """Exports of a study, oldest first."""
        with self._database.reading() as connection:
            found = connection.execute(
                select(*columns_of(Export)).where(Export.study_id == study_id).order_by(Export.id)
            )
            return [_export(row) for row in found]

    def record_scores(
        self, export_id: int, *, public: float | None = None, private: float | None = None
    ) -> ExportRecord:
        """Set the leaderboard scores of an export. None leaves a score unchanged.

        Returns:
            The export before the change.

        Raises:
            StorageError: no such export, or a score that is not finite.
        """
        scores = {"public_score": public, "private_score": private}
        changes = {name: float(score) for name, score in scores.items() if score is not None}
        for name, score in changes.items():
            if not math.isfinite(score):
                raise StorageError(f"a {name.replace('_', ' ')} is a finite number, not {score}")
        with self._database.writing() as connection:
            query = select(*columns_of(Export)).where(Export.id == export_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise StorageError(f"no export has the number {export_id} in {self._database.name}")
            if changes:
                connection.execute(update(Export).where(Export.id == export_id).values(**changes))
        return _export(row)


_EXPORT_RULES = {
    **dict.fromkeys(("id", "study_id"), rows.integer(0)),
    "created": rows.moment(),
    "folder": rows.text(),
    "recipe": rows.recipe(),
    **dict.fromkeys(("score", "public_score", "private_score"), rows.optional(rows.number())),
    "score_se": rows.optional(rows.number(0.0)),
    "notes": rows.document(),
    "forecast": rows.optional(rows.document()),
}


def _export(row: Row[Any]) -> ExportRecord:
    return ExportRecord(**check_row(Export.__tablename__, row._mapping, _EXPORT_RULES))


def _check_forecast(forecast: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(None if forecast is None else dict(forecast), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StorageError(f"a forecast may hold only texts and finite numbers: {error}") from error
