"""Trial outcomes as rows: written in the caller's transaction, read as values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, delete, insert, select

from storage.database.blobs import pack, unpack
from storage.database.clock import Clock
from storage.database.tables import Curve, Prediction, Trial
from storage.values import (
    EpochCurve,
    Failure,
    TrialOutcome,
    TrialRecord,
    TrialStatus,
    WorkKind,
    finite_or_none,
    storable_text,
)

TRIAL_COLUMNS = tuple(getattr(Trial, name) for name in TrialRecord.__dataclass_fields__)


def insert_outcome(connection: Connection, work: Row[Any], outcome: TrialOutcome, clock: Clock) -> None:
    """Write the record of a work row (all columns of `storage.database.tables.Work`), its curves and its
    predictions.
    """
    trial_id = connection.execute(
        insert(Trial)
        .values(
            work_id=work.id,
            study_id=work.study_id,
            kind=work.kind,
            number=work.trial_number,
            split=work.split,
            seed=work.seed,
            recipe=work.recipe,
            machine=dict(outcome.machine),
            note=work.note,
            worker=work.worker,
            attempt=work.attempt,
            status=outcome.status.value,
            failure=None if outcome.failure is None else outcome.failure.value,
            reason=storable_text(outcome.reason),
            value=finite_or_none(outcome.value),
            value_se=finite_or_none(outcome.value_se),
            soft=finite_or_none(outcome.soft),
            brier=finite_or_none(outcome.brier),
            ambiguity=finite_or_none(outcome.ambiguity),
            temperature=finite_or_none(outcome.temperature),
            epochs_done=outcome.epochs_done,
            seconds=outcome.seconds,
            finished=clock(),
        )
        .returning(Trial.id)
    ).scalar_one()
    if outcome.curves:
        connection.execute(insert(Curve), [_curve_row(trial_id, curve) for curve in outcome.curves])
    if outcome.predictions:
        connection.execute(
            insert(Prediction),
            [
                {"trial_id": trial_id, "name": name, "proba": pack(np.asarray(proba, dtype=np.float32))}
                for name, proba in outcome.predictions.items()
            ],
        )


def delete_outcome(connection: Connection, work_id: int) -> None:
    """Remove the record of a work item with its curves and predictions."""
    records = select(Trial.id).where(Trial.work_id == work_id).scalar_subquery()
    connection.execute(delete(Curve).where(Curve.trial_id == records))
    connection.execute(delete(Prediction).where(Prediction.trial_id == records))
    connection.execute(delete(Trial).where(Trial.work_id == work_id))


def select_curves(connection: Connection, trial_id: int) -> tuple[EpochCurve, ...]:
    """Every epoch of a trial, in order."""
    rows = connection.execute(select(*Curve.__table__.columns).where(Curve.trial_id == trial_id).order_by(Curve.epoch))
    return tuple(
        EpochCurve(
            epoch=row.epoch,
            metric=_number(row.metric),
            soft=_number(row.soft),
            train_loss=_number(row.train_loss),
            seconds=row.seconds,
            fold_metrics=tuple(_number(value) for value in row.fold_metrics),
            true_class=unpack(row.true_class).astype(np.float16, copy=False),
        )
        for row in rows
    )


def trial_record(row: Row[Any]) -> TrialRecord:
    """A row of `TRIAL_COLUMNS` as a value."""
    values = dict(row._mapping)
    failure = None if row.failure is None else Failure(row.failure)
    return TrialRecord(**{**values, "kind": WorkKind(row.kind), "status": TrialStatus(row.status), "failure": failure})


def _curve_row(trial_id: int, curve: EpochCurve) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "epoch": curve.epoch,
        "metric": finite_or_none(curve.metric),
        "soft": finite_or_none(curve.soft),
        "train_loss": finite_or_none(curve.train_loss),
        "seconds": curve.seconds,
        "fold_metrics": [finite_or_none(value) for value in curve.fold_metrics],
        "true_class": pack(np.asarray(curve.true_class, dtype=np.float16)),
    }


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored
