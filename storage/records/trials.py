"""Stored trials: records, learning curves and predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sqlalchemy import and_, func, select

from storage.database import rows
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import Prediction, Study, Trial
from storage.errors import StorageError
from storage.records.sizes import SizeReader, checked_probabilities
from storage.records.trial_rows import (
    TRIAL_COLUMNS,
    has_ended,
    is_paused_record,
    is_probe,
    select_curves,
    trial_record,
)
from storage.values import EpochCurve, TrialRecord, TrialStatus, WorkKind


class TrialStore:
    """Reads the outcomes that `storage.queue.work_queue.WorkQueue.store` wrote; those of paused trials with `paused`.

    All methods are repeated during an outage (`storage.database.outages.repeatable`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sizes = SizeReader(database)

    @repeatable
    def records(
        self, study_id: int, *, kind: WorkKind | None = None, status: TrialStatus | None = None
    ) -> list[TrialRecord]:
        """Records of a study in the order in which they were stored; with ``kind`` or ``status``, only those."""
        query = select(*TRIAL_COLUMNS).where(Trial.study_id == study_id, has_ended()).order_by(Trial.id)
        if kind is not None:
            query = query.where(Trial.kind == WorkKind(kind).value)
        if status is not None:
            query = query.where(Trial.status == TrialStatus(status).value)
        with self._database.reading() as connection:
            return [trial_record(row) for row in connection.execute(query)]

    @repeatable
    def paused(self, study_id: int) -> list[TrialRecord]:
        """The outcomes so far of the paused trials of a study, as they would end: pruned. In the order of pausing."""
        query = select(*TRIAL_COLUMNS).where(Trial.study_id == study_id, is_paused_record()).order_by(Trial.id)
        with self._database.reading() as connection:
            return [trial_record(row) for row in connection.execute(query)]

    @repeatable
    def record_of(self, work_id: int) -> TrialRecord | None:
        """The record of a work item; None while it has no outcome."""
        with self._database.reading() as connection:
            row = connection.execute(select(*TRIAL_COLUMNS).where(Trial.work_id == work_id, has_ended())).one_or_none()
        return None if row is None else trial_record(row)

    @repeatable
    def count(self, study_id: int, kind: WorkKind) -> int:
        """The number of records of one kind."""
        with self._database.reading() as connection:
            return connection.execute(
                select(func.count()).where(Trial.study_id == study_id, Trial.kind == kind.value, has_ended())
            ).scalar_one()

    @repeatable
    def consecutive_failures(self, study_id: int) -> int:
        """How many search trials failed after the last one that did not, and after the study was last set running.

        Probes do not count: a study may have backbones that cannot be probed.
        """
        since = select(func.coalesce(Study.running_since, 0.0)).where(Study.id == study_id).scalar_subquery()
        ended = and_(
            Trial.study_id == study_id,
            Trial.kind == WorkKind.SEARCH.value,
            Trial.finished >= since,
            ~is_probe(Trial.note),
        )
        last_success = select(func.coalesce(func.max(Trial.id), 0)).where(
            ended, Trial.status != TrialStatus.FAILED.value
        )
        with self._database.reading() as connection:
            count = select(func.count()).where(ended, Trial.id > last_success.scalar_subquery())
            return connection.execute(count).scalar_one()

    @repeatable
    def curves(self, record_id: int) -> tuple[EpochCurve, ...]:
        """All epochs of a record, in order; empty if the training ended before the first one did."""
        with self._database.reading() as connection:
            return select_curves(connection, record_id)

    @repeatable
    def prediction_names(self, record_id: int) -> tuple[str, ...]:
        """Names of the predictions of a record, sorted."""
        with self._database.reading() as connection:
            names = select(Prediction.name).where(Prediction.trial_id == record_id).order_by(Prediction.name)
            found = tuple(connection.execute(names).scalars())
        for name in found:
            check_row(Prediction.__tablename__, {"id": record_id, "name": name}, {"name": rows.text(64)})
        return found

    @repeatable
    def prediction(self, record_id: int, name: str) -> npt.NDArray[np.float32]:
        """Class probabilities, float32 ``(images, classes)``.

        Raises:
            StorageError: the record has no predictions of that name. The message lists the names that it has.
            DamagedRowError: they are no probabilities of the study's images and classes.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                select(Prediction.proba, Trial.study_id)
                .join(Trial, Trial.id == Prediction.trial_id)
                .where(Prediction.trial_id == record_id, Prediction.name == name)
            ).one_or_none()
        if row is None:
            stored = ", ".join(self.prediction_names(record_id)) or "none"
            raise StorageError(f"trial record {record_id} has no predictions {name!r}; stored: {stored}")
        sizes = self._sizes.of_study(row.study_id)
        images = {"oof": sizes.train, "test": sizes.test}.get(name.partition(".")[0])
        return checked_probabilities(row.proba, images, sizes.classes, Prediction.__tablename__, f"{record_id} {name}")
