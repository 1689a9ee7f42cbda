"""Stored studies: specification, data set, budget, state and image weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Row, insert, select, update

from storage.database import rows
from storage.database.blobs import pack
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row, damaged, unpacked
from storage.database.tables import Study, StudyPseudoLabels, StudyWeights
from storage.errors import StudyExistsError, UnknownStudyError
from storage.records.sizes import SizeReader
from storage.records.study_rows import (
    STUDY_COLUMNS,
    STUDY_RULES,
    ImageWeights,
    LabelDecision,
    PseudoLabels,
    StoredStudy,
)
from storage.values import StudyState, storable_text


class StudyStore:
    """Creates, reads and changes studies.

    `create` and `grow_budget` are not repeated during an outage. A second `create` would fail because the first one
    succeeded, and a second `grow_budget` would grow the budget twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sizes = SizeReader(database)

    def create(
        self,
        name: str,
        *,
        fingerprint: str,
        spec: Mapping[str, Any],
        spec_hash: str,
        file_spec: Mapping[str, Any],
        overrides: Sequence[str] = (),
        budget: int | None,
        deadline: float | None = None,
        weights: ImageWeights | None = None,
        weights_dir: str | None = None,
        data_dir: str | None = None,
        corrections: Sequence[LabelDecision] | None = None,
        pseudo_labels: PseudoLabels | None = None,
    ) -> StoredStudy:
        """Store a new study in the state running. The caller creates Optuna's study.

        Args:
            fingerprint: of a stored data set.
            weights: they never change; None: all images count equally.
            weights_dir: absolute path of the folder of pre-trained weights.
            data_dir: absolute path of the folder of images.
            corrections: the label corrections that changed the data set; they never change. None: not on record.
            pseudo_labels: they never change; None: the study learns from the training images alone.

        Raises:
            StudyExistsError: the name is taken, perhaps since a moment ago by another process.
            StorageError: the data set is not stored, the name cannot be one of a folder, or the path is relative.
        """
        given = {"name": name, "weights_dir": weights_dir, "data_dir": data_dir}
        check_row(Study.__tablename__, given, {column: STUDY_RULES[column] for column in given})
        with self._database.writing() as connection:
            created = connection.execute(
                self._database.insert(Study)
                .values(
                    name=name,
                    fingerprint=fingerprint,
                    spec=dict(spec),
                    spec_hash=spec_hash,
                    file_spec=dict(file_spec),
                    overrides=list(overrides),
                    data_options={},  # unused: the specification holds the options
                    budget=budget,
                    deadline=deadline,
                    weights_dir=weights_dir,
                    data_dir=data_dir,
                    corrections=None if corrections is None else [list(each) for each in corrections],
                    state=StudyState.RUNNING.value,
                    state_reason="",
                    created=self._database.clock(),
                )
                .on_conflict_do_nothing(index_elements=["name"])
                .returning(Study.id)
            ).scalar_one_or_none()
            if created is not None and weights is not None:
                values = pack(weights.values.astype(np.float64))
                connection.execute(
                    insert(StudyWeights).values(study_id=created, weights=values, about=dict(weights.about))
                )
            if created is not None and pseudo_labels is not None:
                smallest = np.promote_types(np.int8, np.min_scalar_type(int(pseudo_labels.values.max(initial=0))))
                connection.execute(
                    insert(StudyPseudoLabels).values(
                        study_id=created,
                        labels=pack(pseudo_labels.values.astype(smallest)),
                        about=dict(pseudo_labels.about),
                    )
                )
        if created is None:
            raise StudyExistsError(f"a study {name!r} exists already in {self._database.place}")
        return self.get(name)

    @repeatable
    def find(self, name: str) -> StoredStudy | None:
        """The study of that name, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(*STUDY_COLUMNS).where(Study.name == name)).one_or_none()
        return None if row is None else _study(row)

    @repeatable
    def get(self, name: str) -> StoredStudy:
        """The study of that name.

        Raises:
            UnknownStudyError: there is none. The message lists the stored names.
        """
        study = self.find(name)
        if study is None:
            names = ", ".join(stored.name for stored in self.all()) or "none at all"
            raise UnknownStudyError(f"no study {name!r} in {self._database.place}; stored: {names}")
        return study

    @repeatable
    def all(self) -> list[StoredStudy]:
        """All studies, oldest first."""
        with self._database.reading() as connection:
            return [_study(row) for row in connection.execute(select(*STUDY_COLUMNS).order_by(Study.id))]

    @repeatable
    def weights(self, study_id: int) -> ImageWeights | None:
        """The weights of the study's training images; None: all images count equally."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(StudyWeights.weights, StudyWeights.about).where(StudyWeights.study_id == study_id)
            ).one_or_none()
        if row is None:
            return None
        check_row(StudyWeights.__tablename__, {**row._mapping, "id": study_id}, {"about": rows.document()})
        values = unpacked(row.weights, StudyWeights.__tablename__, study_id, "weights")
        weights = ImageWeights(values=values.astype(np.float64, copy=False), about=row.about)
        images = self._sizes.of_study(study_id).train
        if len(weights.values) != images:
            raise damaged(
                StudyWeights.__tablename__, study_id, f"there are {len(weights.values)} weights, not {images}"
            )
        return weights

    @repeatable
    def pseudo_labels(self, study_id: int) -> PseudoLabels | None:
        """The labels of test images on which the study's trainings also learn; None: there are none."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(StudyPseudoLabels.labels, StudyPseudoLabels.about).where(StudyPseudoLabels.study_id == study_id)
            ).one_or_none()
        if row is None:
            return None
        table = StudyPseudoLabels.__tablename__
        check_row(table, {**row._mapping, "id": study_id}, {"about": rows.document()})
        stored, sizes = unpacked(row.labels, table, study_id, "labels"), self._sizes.of_study(study_id)
        whole = stored.dtype.kind in "iu" and stored.ndim == 2 and stored.shape[1] == sizes.test
        values = stored.astype(np.int64) if whole else np.zeros((0, 0), np.int64)
        if not whole or not ((values >= -1) & (values < sizes.classes)).all():
            raise damaged(
                table, study_id, f"the labels are not classes 0 to {sizes.classes - 1} of {sizes.test} test images"
            )
        return PseudoLabels(values=values, about=row.about)

    @repeatable
    def corrections(self, study_id: int) -> tuple[LabelDecision, ...] | None:
        """The label corrections that were in force when the study began; None: an earlier release did not record them.

        Raises:
            UnknownStudyError: no study has this id.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(Study.id, Study.corrections).where(Study.id == study_id)).one_or_none()
        if row is None:
            raise UnknownStudyError(f"no study has the id {study_id} in {self._database.name}")
        check_row(Study.__tablename__, row._mapping, {"corrections": rows.optional(rows.label_decisions())})
        if row.corrections is None:
            return None
        return tuple((identifier, given, label) for identifier, given, label in row.corrections)

    @repeatable
    def state(self, study_id: int) -> StudyState:
        """The state of a study. Cheap enough to ask after every epoch.

        Raises:
            UnknownStudyError: no such study.
        """
        with self._database.reading() as connection:
            state = connection.execute(select(Study.state).where(Study.id == study_id)).scalar_one_or_none()
        if state is None:
            raise UnknownStudyError(f"no study has the id {study_id} in {self._database.name}")
        check_row(Study.__tablename__, {"id": study_id, "state": state}, {"state": STUDY_RULES["state"]})
        return StudyState(state)

    @repeatable
    def set_state(self, study_id: int, state: StudyState, reason: str = "") -> None:
        """Change the state, with a reason for the user.

        Setting a study running also resets `storage.records.trials.TrialStore.consecutive_failures`.

        Raises:
            UnknownStudyError: no such study; so do all methods below.
        """
        changes: dict[str, Any] = {"state": StudyState(state).value, "state_reason": storable_text(reason)}
        if state is StudyState.RUNNING:
            changes["running_since"] = self._database.clock()
        self._change(study_id, **changes)

    @repeatable
    def set_priority(self, study_id: int, priority: int) -> None:
        """Change the priority among the studies of the database. The default is 0; higher comes first."""
        self._change(study_id, priority=priority)

    @repeatable
    def set_spec(
        self,
        study_id: int,
        *,
        spec: Mapping[str, Any],
        file_spec: Mapping[str, Any],
        overrides: Sequence[str] | None = None,
    ) -> None:
        """Replace the specification by one with the same hash: it differs only in settings that no trial depends on.

        Args:
            overrides: of the new specification; None: those of the old one.
        """
        changed = {} if overrides is None else {"overrides": list(overrides)}
        self._change(study_id, spec=dict(spec), file_spec=dict(file_spec), **changed)

    @repeatable
    def set_weights_dir(self, study_id: int, weights_dir: str) -> None:
        """Replace the folder of pre-trained weights, an absolute path.

        Raises:
            StorageError: the path is relative.
        """
        self._set_folder(study_id, "weights_dir", weights_dir)

    @repeatable
    def set_data_dir(self, study_id: int, data_dir: str) -> None:
        """Replace the folder of images, an absolute path.

        Raises:
            StorageError: the path is relative.
        """
        self._set_folder(study_id, "data_dir", data_dir)

    @repeatable
    def set_budget(self, study_id: int, budget: int | None) -> None:
        """Change the maximum number of search trials; None: no limit. Trials that have begun are always finished."""
        self._change(study_id, budget=budget)

    def grow_budget(self, study_id: int, trials: int = 1) -> None:
        """Raise the maximum number of search trials. A study without a budget keeps none."""
        self._change(study_id, budget=Study.budget + trials)

    @repeatable
    def set_deadline(
        self, study_id: int, deadline: float | None, *, hours: float | None = None, period_began: float | None = None
    ) -> None:
        """Change the deadline: Unix seconds on the database's clock (`storage.database.connection.Database.now`).

        Args:
            hours: length of the period that ends at the deadline, as the user gave it.
            period_began: when the period began.
        """
        self._change(study_id, deadline=deadline, hours=hours, period_began=period_began)

    def _set_folder(self, study_id: int, column: str, path: str) -> None:
        check_row(Study.__tablename__, {"id": study_id, column: path}, {column: STUDY_RULES[column]})
        self._change(study_id, **{column: path})

    def _change(self, study_id: int, **values: Any) -> None:
        with self._database.writing() as connection:
            if connection.execute(update(Study).where(Study.id == study_id).values(**values)).rowcount != 1:
                raise UnknownStudyError(f"no study has the id {study_id} in {self._database.name}")


def _study(row: Row[Any]) -> StoredStudy:
    values = check_row(Study.__tablename__, row._mapping, STUDY_RULES)
    return StoredStudy(**{**values, "overrides": tuple(row.overrides), "state": StudyState(row.state)})
