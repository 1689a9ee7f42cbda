"""Studies as they are stored: specification, data, budget, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, insert, select, update

from storage.database.blobs import pack, unpack
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Study, StudyWeights
from storage.errors import StorageError, StudyExistsError, UnknownStudyError
from storage.values import StudyState, storable_text


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study. Name, data and ``spec_hash`` stay as they were when it was created."""

    id: int
    name: str
    """Also the name of Optuna's study."""
    fingerprint: str
    """Of the data set that it was created on."""
    spec: dict[str, Any]
    """The specification with everything resolved."""
    spec_hash: str
    file_spec: dict[str, Any]
    """The study file as it was read, before the overrides."""
    overrides: tuple[str, ...]
    """``FIELD=VALUE`` as typed."""
    budget: int | None
    """Search trials in total, failed ones aside; None: until the deadline."""
    deadline: float | None
    """Unix seconds on the database's clock, after which nothing begins."""
    state: StudyState
    state_reason: str
    priority: int
    """Workers of many studies serve a higher one first."""
    served: float | None
    """When a work item of it was last handed out, Unix seconds on the database's clock."""
    swept: float | None
    """When somebody last looked for what dead workers left behind, likewise."""
    running_since: float | None
    """When it was last set running by a person; None: since it was created."""
    created: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageWeights:
    """How much each of a study's ``n`` training images counts in its scores. Treat the array as read-only.

    Raises:
        StorageError: not ``n`` finite numbers above 0.
    """

    values: npt.NDArray[np.float64]
    """float64 ``(n,)``, in the order of the data set's training ids."""
    about: Mapping[str, Any]
    """What they were made from, to be shown; plain JSON."""

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values) & (values > 0.0)):
            raise StorageError(f"weights of images are finite numbers above 0, not {values.dtype} of {values.shape}")


_COLUMNS = tuple(getattr(Study, name) for name in StoredStudy.__dataclass_fields__)


class StudyStore:
    """Studies by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
    ) -> StoredStudy:
        """Store a new study, running. Its data set must be stored already. Optuna's study is the caller's to create.

        Args:
            weights: how much each training image counts, for ever; None: all the same.

        Raises:
            StudyExistsError: the name is taken, perhaps a moment ago by another process.
        """
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
                    data_options={},  # a column that nothing reads: the options are part of the specification
                    budget=budget,
                    deadline=deadline,
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
        if created is None:
            raise StudyExistsError(f"a study called {name!r} exists already in {self._database.name}")
        return self.get(name)

    @repeatable
    def find(self, name: str) -> StoredStudy | None:
        """The study of that name, or None."""
        with self._database.reading() as connection:
            row = connection.execute(select(*_COLUMNS).where(Study.name == name)).one_or_none()
        return None if row is None else _study(row)

    @repeatable
    def get(self, name: str) -> StoredStudy:
        """The study of that name.

        Raises:
            UnknownStudyError: there is none; the message lists those that there are.
        """
        found = self.find(name)
        if found is None:
            names = ", ".join(study.name for study in self.all()) or "none at all"
            raise UnknownStudyError(f"no study called {name!r} in {self._database.name}; stored: {names}")
        return found

    @repeatable
    def all(self) -> list[StoredStudy]:
        """All studies, the oldest first."""
        with self._database.reading() as connection:
            return [_study(row) for row in connection.execute(select(*_COLUMNS).order_by(Study.id))]

    @repeatable
    def weights(self, study_id: int) -> ImageWeights | None:
        """How much each training image counts in the study's scores; None: all the same."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(StudyWeights.weights, StudyWeights.about).where(StudyWeights.study_id == study_id)
            ).one_or_none()
        if row is None:
            return None
        return ImageWeights(values=unpack(row.weights).astype(np.float64, copy=False), about=row.about)

    @repeatable
    def state(self, study_id: int) -> StudyState:
        """The state alone: cheap enough to ask after every epoch.

        Raises:
            UnknownStudyError: no such study.
        """
        with self._database.reading() as connection:
            state = connection.execute(select(Study.state).where(Study.id == study_id)).scalar_one_or_none()
        if state is None:
            raise UnknownStudyError(f"there is no study with the id {study_id} in {self._database.name}")
        return StudyState(state)

    @repeatable
    def set_state(self, study_id: int, state: StudyState, reason: str = "") -> None:
        """Change the state; ``reason`` is shown beside it. Set running, failures from before no longer count."""
        changes: dict[str, Any] = {"state": StudyState(state).value, "state_reason": storable_text(reason)}
        if state is StudyState.RUNNING:
            changes["running_since"] = self._database.clock()
        self._change(study_id, **changes)

    @repeatable
    def set_priority(self, study_id: int, priority: int) -> None:
        """Change the priority among the studies of the database; 0 is ordinary."""
        self._change(study_id, priority=priority)

    @repeatable
    def set_spec(self, study_id: int, *, spec: Mapping[str, Any], file_spec: Mapping[str, Any]) -> None:
        """Replace the specification by one with the same hash: what it leaves out no trial depends on."""
        self._change(study_id, spec=dict(spec), file_spec=dict(file_spec))

    @repeatable
    def set_budget(self, study_id: int, budget: int | None) -> None:
        """Change the number of trials in total. What is begun already is never cut short."""
        self._change(study_id, budget=budget)

    def grow_budget(self, study_id: int, trials: int = 1) -> None:
        """Add to the number of trials in total; a study without a budget has room for them anyway."""
        self._change(study_id, budget=Study.budget + trials)

    @repeatable
    def set_deadline(self, study_id: int, deadline: float | None) -> None:
        """Change the deadline (Unix seconds on the database's clock, see
        `storage.database.connection.Database.now`).
        """
        self._change(study_id, deadline=deadline)

    def _change(self, study_id: int, **values: Any) -> None:
        with self._database.writing() as connection:
            if connection.execute(update(Study).where(Study.id == study_id).values(**values)).rowcount != 1:
                raise UnknownStudyError(f"there is no study with the id {study_id} in {self._database.name}")


def _study(row: Row[Any]) -> StoredStudy:
    values = dict(row._mapping)
    return StoredStudy(**{**values, "overrides": tuple(row.overrides), "state": StudyState(row.state)})
