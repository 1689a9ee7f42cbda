"""Stored exports: which recipe was exported where, its expected score, and its scores on the leaderboard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Export
from storage.errors import StorageError
from storage.values import finite_or_none


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """A submission and model folder that was written."""

    id: int
    study_id: int
    created: float
    """Unix seconds, database's clock."""
    folder: str
    recipe: dict[str, Any]
    score: float | None
    score_se: float | None
    notes: dict[str, Any]
    forecast: dict[str, Any] | None
    """What score on the test images was expected when it was made; None where nobody can tell."""
    public_score: float | None
    """What the competition's board said, in the direction in which studies count: higher is better."""
    private_score: float | None


class ExportStore:
    """Adds and reads the exports of a study."""

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
        """Record an export that was written; returns its id.

        Raises:
            StorageError: a forecast that JSON cannot hold, such as one with a number that is not finite.
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
        """Exports of a study, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*Export.__table__.columns).where(Export.study_id == study_id).order_by(Export.id)
            )
            return [ExportRecord(**row._mapping) for row in rows]

    def record_scores(
        self, export_id: int, *, public: float | None = None, private: float | None = None
    ) -> ExportRecord:
        """Record what the competition's board said of an export, in place of what was recorded before; None leaves a
        score as it is.

        Returns:
            The export as it was before the call.

        Raises:
            StorageError: no such export, or a score that is not finite.
        """
        given = {"public_score": public, "private_score": private}
        new = {name: float(score) for name, score in given.items() if score is not None}
        for name, score in new.items():
            if not math.isfinite(score):
                raise StorageError(f"a {name.replace('_', ' ')} is a finite number, not {score}")
        with self._database.writing() as connection:
            query = select(*Export.__table__.columns).where(Export.id == export_id)
            row = connection.execute(query).one_or_none()
            if row is None:
                raise StorageError(f"no export has the number {export_id} in {self._database.name}")
            if new:
                connection.execute(update(Export).where(Export.id == export_id).values(**new))
        return ExportRecord(**row._mapping)


def _check_forecast(forecast: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(None if forecast is None else dict(forecast), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StorageError(f"a forecast holds texts and finite numbers: {error}") from error
