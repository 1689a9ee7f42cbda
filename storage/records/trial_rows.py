"""Trial outcomes as rows: written and deleted inside the caller's transaction, read as values."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Row, delete, exists, false, func, insert, select, true
from sqlalchemy.orm import InstrumentedAttribute

from storage.database import rows
from storage.database.blobs import pack
from storage.database.clock import Clock
from storage.database.rows import check_row, damaged, unpacked
from storage.database.tables import Curve, Prediction, Trial, Work, columns_of
from storage.values import (
    PROBE_NOTE,
    EpochCurve,
    Failure,
    TrialOutcome,
    TrialRecord,
    TrialStatus,
    WorkKind,
    finite_or_none,
    storable_text,
)

TRIAL_COLUMNS = tuple(getattr(Trial, name).label(name) for name in TrialRecord.__dataclass_fields__)
"""The columns that `trial_record` reads."""


def is_probe(marks: InstrumentedAttribute[dict[str, Any]]) -> ColumnElement[bool]:
    """SQL condition: a note or the attributes of a trial say that it is a probe (`storage.values.PROBE_NOTE`)."""
    return func.coalesce(marks[PROBE_NOTE].as_boolean(), false()).is_(true())


def has_ended() -> ColumnElement[bool]:
    """SQL condition: a row of `Trial` is final, not that of a paused trial (`storage.queue.pausing`)."""
    return ~is_paused_record()


def is_paused_record() -> ColumnElement[bool]:
    """SQL condition: a row of `Trial` is the outcome so far of a paused trial."""
    return exists().where(Work.id == Trial.work_id, Work.paused_after.is_not(None)).correlate(Trial)


_INDEX = rows.integer(0, rows.COUNT)
_TRIAL_RULES = {
    **dict.fromkeys(("id", "work_id", "study_id"), rows.integer(0)),
    "kind": rows.one_of(WorkKind),
    "number": rows.optional(_INDEX),
    "split": rows.integer(-1, rows.COUNT),
    "seed": rows.integer(),
    "recipe": rows.optional(rows.recipe()),
    "machine": rows.document(),
    "note": rows.note(),
    "worker": rows.optional(rows.text()),
    "attempt": _INDEX,
    "status": rows.one_of(TrialStatus),
    "failure": rows.optional(rows.one_of(Failure)),
    "reason": rows.text(),
    "value": rows.optional(rows.number()),
    "value_se": rows.optional(rows.number(0.0)),
    "mean_true_probability": rows.optional(rows.number()),
    "brier": rows.optional(rows.number()),
    "ambiguity": rows.optional(rows.number()),
    "temperature": rows.optional(rows.number(0.0, above=True)),
    "epochs_done": _INDEX,
    "seconds": rows.duration(),
    "finished": rows.moment(),
    "overhead": rows.optional(rows.duration()),
    "networks": rows.optional(rows.networks()),
}
_CURVE_RULES = {
    "epoch": rows.integer(1, rows.COUNT),
    **dict.fromkeys(("metric", "mean_true_probability", "train_loss"), rows.optional(rows.number())),
    "seconds": rows.duration(),
    "fold_metrics": rows.numbers(),
    "true_class": rows.blob(),
}


def insert_outcome(connection: Connection, work: Row[Any], outcome: TrialOutcome, clock: Clock) -> None:
    """Write the record, the curves and the predictions of a work item.

    Args:
        work: the item, with the columns of ``columns_of(Work)`` (`storage.database.tables.columns_of`).
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
            mean_true_probability=finite_or_none(outcome.mean_true_probability),
            brier=finite_or_none(outcome.brier),
            ambiguity=finite_or_none(outcome.ambiguity),
            temperature=finite_or_none(outcome.temperature),
            epochs_done=outcome.epochs_done,
            seconds=outcome.seconds,
            overhead=outcome.overhead,
            finished=clock(),
            networks=None if outcome.networks is None else dict(outcome.networks),
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
    """Delete the record of a work item with its curves and predictions."""
    trial_id = select(Trial.id).where(Trial.work_id == work_id).scalar_subquery()
    connection.execute(delete(Curve).where(Curve.trial_id == trial_id))
    connection.execute(delete(Prediction).where(Prediction.trial_id == trial_id))
    connection.execute(delete(Trial).where(Trial.work_id == work_id))


def store_again(connection: Connection, work_id: int, clock: Clock) -> None:
    """Give the record of a work item a new id and the present time, so that it is the last in the order of records.

    Args:
        work_id: of an item whose record has no predictions.
    """
    record = connection.execute(select(*columns_of(Trial)).where(Trial.work_id == work_id)).one()
    curves = connection.execute(select(*columns_of(Curve)).where(Curve.trial_id == record.id)).all()
    delete_outcome(connection, work_id)
    values = {**record._mapping, "finished": clock()}
    del values["id"]
    new_id = connection.execute(insert(Trial).values(values).returning(Trial.id)).scalar_one()
    if curves:
        connection.execute(insert(Curve), [{**curve._mapping, "trial_id": new_id} for curve in curves])


def select_curves(connection: Connection, trial_id: int) -> tuple[EpochCurve, ...]:
    """All epochs of a trial, in order."""
    found = connection.execute(select(*columns_of(Curve)).where(Curve.trial_id == trial_id).order_by(Curve.epoch))
    return tuple(
        EpochCurve(
            epoch=check_row(Curve.__tablename__, row._mapping, _CURVE_RULES)["epoch"],
            metric=_number(row.metric),
            mean_true_probability=_number(row.mean_true_probability),
            train_loss=_number(row.train_loss),
            seconds=row.seconds,
            fold_metrics=tuple(_number(value) for value in row.fold_metrics),
            true_class=_true_class(row),
        )
        for row in found
    )


def _true_class(row: Row[Any]) -> npt.NDArray[np.float16]:
    stored = unpacked(row.true_class, Curve.__tablename__, row.trial_id, "true_class")
    if stored.ndim != 1 or stored.dtype.kind != "f":
        raise damaged(Curve.__tablename__, row.trial_id, f"true_class is {stored.dtype} of shape {stored.shape}")
    return stored.astype(np.float16, copy=False)


def trial_record(row: Row[Any]) -> TrialRecord:
    """The record of a row with the columns `TRIAL_COLUMNS`.

    Raises:
        DamagedRowError: a value is not valid.
    """
    values = check_row(Trial.__tablename__, row._mapping, _TRIAL_RULES)
    own_folder = re.compile(rf"weights/[^/]+/{row.work_id}/[^/]+")
    if not all(own_folder.fullmatch(name) for name in row.networks or ()):
        raise damaged(Trial.__tablename__, row.id, "networks are those of another work item")
    if (row.status == TrialStatus.FAILED) != (row.failure is not None):
        raise damaged(Trial.__tablename__, row.id, f"status is {row.status!r} and failure is {row.failure!r}")
    ended_well = row.status != TrialStatus.FAILED
    if ended_well and (row.recipe is None or (row.number is None and row.kind == WorkKind.SEARCH)):
        raise damaged(Trial.__tablename__, row.id, f"a {row.status} trial lacks its recipe or its number")
    failure = None if row.failure is None else Failure(row.failure)
    return TrialRecord(
        **{
            **values,
            "kind": WorkKind(row.kind),
            "status": TrialStatus(row.status),
            "failure": failure,
            "overhead": row.overhead or 0.0,
        }
    )


def _curve_row(trial_id: int, curve: EpochCurve) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "epoch": curve.epoch,
        "metric": finite_or_none(curve.metric),
        "mean_true_probability": finite_or_none(curve.mean_true_probability),
        "train_loss": finite_or_none(curve.train_loss),
        "seconds": curve.seconds,
        "fold_metrics": [finite_or_none(value) for value in curve.fold_metrics],
        "true_class": pack(np.asarray(curve.true_class, dtype=np.float16)),
    }


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored
