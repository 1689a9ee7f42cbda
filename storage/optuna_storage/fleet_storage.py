"""Optuna's storage on our engine, with fewer reads and writes for a worker that samples a recipe."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import NullPool, QueuePool, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from storage.database.connection import Database
from storage.database.engine import BUSY_TIMEOUT, CONNECT_TIMEOUT
from storage.database.outages import repeatable
from storage.database.urls import url_text
from storage.errors import SchemaError
from storage.optuna_storage.optuna_trials import FIXED_PARAMS, id_of
from storage.values import RENAMED_VALUES, current_value


class _SharedEngineStorage(RDBStorage):
    """Optuna's storage with the engine of a `Database`: the same pool of connections and the same locking.

    Optuna creates an engine and uses it before listeners can be attached. So that engine keeps no connection, only
    checks the version of Optuna's tables, and is then replaced. Unpickling opens the storage again in the same way;
    Optuna's own unpickling would create an engine without ``BEGIN IMMEDIATE``, which runs enqueued trials twice.
    """

    def __init__(self, database: Database, *, create_tables: bool) -> None:
        # Optuna's engine connects for a moment. Closing our idle connection first keeps workers that start at once from
        # needing twice as many connections of the server.
        pool = database.engine.pool
        if isinstance(pool, QueuePool) and pool.checkedout() == 0:
            database.engine.dispose()
        connecting: dict[str, Any] = (
            # Optuna decodes the URL by itself, which fails for file names that are not UTF-8.
            {"creator": partial(sqlite3.connect, str(database.url.database), timeout=BUSY_TIMEOUT)}
            if database.is_sqlite
            else {"connect_args": {"connect_timeout": CONNECT_TIMEOUT}}
        )
        super().__init__(
            url_text(database.url),
            engine_kwargs={"poolclass": NullPool, "hide_parameters": True, **connecting},
            skip_table_creation=not create_tables,
        )
        self._database = database
        self.engine = database.engine
        self.scoped_session = scoped_session(sessionmaker(bind=database.engine))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen_shared, (self._database,)

    def _build_frozen_trial_from_trial_model(self, trial: models.TrialModel) -> FrozenTrial:
        """As Optuna's, with the values of today (`storage.values.current_value`) in place of renamed ones.

        Optuna refuses trials of one study with different choices, so choices are renewed as well.
        """
        built = super()._build_frozen_trial_from_trial_model(trial)
        built.params = _current_params(built.params)
        built.distributions = {name: _current_choices(name, one) for name, one in built.distributions.items()}
        fixed = built.system_attrs.get(FIXED_PARAMS)
        if isinstance(fixed, dict):
            built.system_attrs = {**built.system_attrs, FIXED_PARAMS: _current_params(fixed)}
        return built

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        """As Optuna's, which would compare renewed choices with the stored ones of another trial."""
        if previous_distribution is None and param_name.partition("@")[0] in {field for field, _ in RENAMED_VALUES}:
            previous_distribution = distribution
        super()._set_trial_param_without_commit(
            session, trial_id, param_name, param_value_internal, distribution, previous_distribution
        )


def _current_params(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: current_value(name, value) for name, value in params.items()}


def _current_choices(name: str, distribution: BaseDistribution) -> BaseDistribution:
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    choices = [current_value(name, choice) for choice in distribution.choices]
    return distribution if choices == list(distribution.choices) else CategoricalDistribution(choices)


def _reopen_shared(database: Database) -> RDBStorage:
    return _SharedEngineStorage(database, create_tables=False)


@dataclass
class TrialWrites:
    """Parameters and user attributes of a trial that are not written yet."""

    trial_id: int
    """Optuna's id, not the number."""
    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    """By name: the value in Optuna's internal representation, and the distribution."""
    user_attrs: dict[str, object] = field(default_factory=dict)


P = ParamSpec("P")
T = TypeVar("T")


def _repeated(method: Callable[Concatenate[_CachedStorage, P], T]) -> Callable[Concatenate[FleetStorage, P], T]:
    """A method of Optuna's storage for `FleetStorage`, repeated during an outage."""

    @repeatable
    def repeated(storage: FleetStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(storage, *args, **kwargs)

    return repeated


class FleetStorage(_CachedStorage):
    """Optuna's cached storage (as of `optuna.storages.get_storage`), with fewer reads and writes on request.

    Inside `reading_once` it reads the trials of a study once. Inside `collecting` it defers the writes of a trial. Only
    one thread may use these blocks; other threads may use the storage at the same time, outside of them.

    Its methods are repeated during an outage (`storage.database.outages.repeatable`), except those that create or
    delete something by name: they would fail if they ran again after they had succeeded.
    """

    get_all_studies = _repeated(_CachedStorage.get_all_studies)
    get_all_trials = _repeated(_CachedStorage.get_all_trials)
    get_study_directions = _repeated(_CachedStorage.get_study_directions)
    get_study_id_from_name = _repeated(_CachedStorage.get_study_id_from_name)
    get_study_name_from_id = _repeated(_CachedStorage.get_study_name_from_id)
    get_study_system_attrs = _repeated(_CachedStorage.get_study_system_attrs)
    get_study_user_attrs = _repeated(_CachedStorage.get_study_user_attrs)
    get_trial = _repeated(_CachedStorage.get_trial)
    get_trial_id_from_study_id_trial_number = _repeated(_CachedStorage.get_trial_id_from_study_id_trial_number)
    set_study_system_attr = _repeated(_CachedStorage.set_study_system_attr)
    set_study_user_attr = _repeated(_CachedStorage.set_study_user_attr)
    set_trial_intermediate_value = _repeated(_CachedStorage.set_trial_intermediate_value)
    set_trial_system_attr = _repeated(_CachedStorage.set_trial_system_attr)
    # A second call after one that succeeded answers as if another process had been faster: with False for a waiting
    # trial, which is left running for `WorkRecovery.orphans` to find, and with UpdateFinishedTrialError for one that
    # has ended.
    set_trial_state_values = _repeated(_CachedStorage.set_trial_state_values)

    def __init__(self, backend: RDBStorage, database: Database) -> None:
        super().__init__(backend)
        self._database = database
        self._read_studies: set[int] | None = None
        self._deferred: TrialWrites | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return open_optuna_storage, (self._database,)

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """Inside the block, read the trials of other workers only once for each study.

        For one suggestion, which takes a fraction of a second. The next one sees the trials that have changed since.
        """
        self._read_studies = set()
        try:
            yield
        finally:
            self._read_studies = None

    @contextmanager
    def collecting(self, trial: optuna.Trial) -> Iterator[TrialWrites]:
        """Inside the block, collect parameters and user attributes of this trial instead of writing them.

        The caller writes them with `write` afterwards. As usual, repeated suggestions return the same values.
        """
        writes = TrialWrites(id_of(trial))
        self._deferred = writes
        try:
            yield writes
        finally:
            self._deferred = None

    @repeatable
    def write(self, writes: TrialWrites) -> bool:
        """Write everything in one transaction.

        May be repeated, because parameters keep their first value and attributes get their last.

        Returns:
            False if the trial has ended or does not exist. Nothing is written then.

        Raises:
            StorageUnavailableError: the database does not answer.
        """
        trial_id = writes.trial_id
        with self._database.writing() as connection:
            state = connection.execute(
                select(models.TrialModel.state).where(models.TrialModel.trial_id == trial_id).with_for_update()
            ).scalar_one_or_none()
            if state is None or state.is_finished():
                return False
            if writes.params:
                params = [
                    {
                        "trial_id": trial_id,
                        "param_name": name,
                        "param_value": value,
                        "distribution_json": distribution_to_json(distribution),
                    }
                    for name, (value, distribution) in writes.params.items()
                ]
                connection.execute(
                    self._database.insert(models.TrialParamModel).values(params).on_conflict_do_nothing()
                )
            if writes.user_attrs:
                insert = self._database.insert(models.TrialUserAttributeModel).values(_attributes(writes))
                connection.execute(
                    insert.on_conflict_do_update(
                        index_elements=["trial_id", "key"], set_={"value_json": insert.excluded.value_json}
                    )
                )
            return True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's. Repeated in an outage unless there is a template.

        If only the answer is lost, the repeated call creates a second trial. Without a template no work item owns the
        first one, and `storage.queue.recovery.WorkRecovery.orphans` finds it. A trial from a template would simply be
        there twice, so its caller has to check whether it exists before trying again.
        """
        create = partial(super().create_new_trial, study_id, template_trial)
        return self._database.retry(create) if template_trial is None else create()

    @repeatable
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's; deferred inside `collecting`."""
        if self._deferred is not None and self._deferred.trial_id == trial_id:
            self._deferred.params[param_name] = (param_value_internal, distribution)
        else:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    @repeatable
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's; deferred inside `collecting`."""
        if self._deferred is not None and self._deferred.trial_id == trial_id:
            self._deferred.user_attrs[key] = value
        else:
            super().set_trial_user_attr(trial_id, key, value)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if self._read_studies is not None and study_id in self._read_studies:
            return
        super()._read_trials_from_remote_storage(study_id)
        if self._read_studies is not None:
            self._read_studies.add(study_id)


def _attributes(writes: TrialWrites) -> list[Mapping[str, Any]]:
    return [
        {"trial_id": writes.trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in writes.user_attrs.items()
    ]


def open_optuna_storage(database: Database) -> FleetStorage:
    """Optuna's storage with the engine of ``database``, whose tables exist. Picklable.

    Optuna's heartbeats are off, because leases replace them.

    Raises:
        SchemaError: the tables are missing, or another Optuna release made them.
        StorageUnavailableError: the database does not answer.
    """
    with database.translated_errors():
        return FleetStorage(_shared_engine_storage(database, create_tables=False), database)


def create_optuna_tables(database: Database) -> None:
    """Create Optuna's tables and record their version. Only one process at a time may call this (`storage.schema`).

    Raises:
        SchemaError: another release of Optuna made the existing tables.
    """
    _shared_engine_storage(database, create_tables=True)


def _shared_engine_storage(database: Database, *, create_tables: bool) -> RDBStorage:
    try:
        return _SharedEngineStorage(database, create_tables=create_tables)
    except RuntimeError as error:
        raise SchemaError(
            f"Optuna's tables in {database.name} were made by another release of Optuna: {error}"
        ) from error
    except optuna.exceptions.StorageInternalError as error:
        # Optuna's message has no details. Its cause has them, and `Database.translated_errors` translates it.
        raise (error.__cause__ or error) from error
