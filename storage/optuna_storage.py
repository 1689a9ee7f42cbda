"""Optuna's tables, reached through our engine, and Optuna's private names.

Optuna's private attributes and modules are used here and in `search.tuning.cost_aware_tpe` alone, so that a new release
of Optuna can break no other module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool, QueuePool, select
from sqlalchemy.orm import scoped_session, sessionmaker

from storage.database.engine import BUSY_TIMEOUT, CONNECT_TIMEOUT
from storage.database.outages import repeatable
from storage.errors import SchemaError

if TYPE_CHECKING:
    from storage.database.connection import Database


class _SharedEngineStorage(RDBStorage):
    """Optuna's storage on a `Database`: same connections, same locking, one pool for both.

    Optuna makes an engine of its own before anybody can attach listeners to it, so that engine is replaced; it keeps no
    connection and serves only Optuna's look at its version. Pickling keeps the database alone and opens it anew, where
    Optuna would make an engine without ``BEGIN IMMEDIATE`` and run enqueued trials twice.
    """

    def __init__(self, database: Database, *, create_tables: bool) -> None:
        # The engine that Optuna makes takes a connection of its own for a moment: ours, where it is idle, is given back
        # first, so that workers that start together do not ask a server for twice as many.
        pool = database.engine.pool
        if isinstance(pool, QueuePool) and pool.checkedout() == 0:
            database.engine.dispose()
        patience = {"timeout": BUSY_TIMEOUT} if database.is_sqlite else {"connect_timeout": CONNECT_TIMEOUT}
        super().__init__(
            database.url.render_as_string(hide_password=False),
            engine_kwargs={"poolclass": NullPool, "hide_parameters": True, "connect_args": patience},
            skip_table_creation=not create_tables,
        )
        self._database = database
        self.engine = database.engine
        self.scoped_session = scoped_session(sessionmaker(bind=database.engine))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen_shared, (self._database,)


def _reopen_shared(database: Database) -> RDBStorage:
    return _SharedEngineStorage(database, create_tables=False)


@dataclass
class TrialWrites:
    """What is to be written of a trial."""

    trial_id: int
    """Optuna's id, not the number."""
    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    """Value in Optuna's internal representation, and distribution, by name."""
    user_attrs: dict[str, object] = field(default_factory=dict)


P = ParamSpec("P")
T = TypeVar("T")


def _repeated(method: Callable[Concatenate[_CachedStorage, P], T]) -> Callable[Concatenate[FleetStorage, P], T]:
    """A method of Optuna's for `FleetStorage`, repeated while the database does not answer."""

    @repeatable
    def repeated(storage: FleetStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(storage, *args, **kwargs)

    return repeated


class FleetStorage(_CachedStorage):
    """As `optuna.storages.get_storage` would cache it, with fewer looks and fewer writes where a worker asks for them.

    For the thread that samples; others may use it as any storage meanwhile, but not inside these blocks.

    Its methods are repeated while the database does not answer (`storage.database.outages.repeatable`), but for
    those that create or delete something by name, which fail when they run again after they have succeeded.
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
        self._seen: set[int] | None = None
        self._collected: TrialWrites | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._database,)

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Within the block, what other workers did is read from the database once for each study. One suggestion takes
        a fraction of a second: what happens meanwhile is seen by the next.
        """
        self._seen = set()
        try:
            yield
        finally:
            self._seen = None

    @contextmanager
    def collecting(self, trial: optuna.Trial) -> Iterator[TrialWrites]:
        """Within the block, parameters and user attributes of this trial are collected instead of written; `write` is
        the caller's to call afterwards. Whatever the block does may be repeated in it.
        """
        writes = TrialWrites(id_of(trial))
        self._collected = writes
        try:
            yield writes
        finally:
            self._collected = None

    @repeatable
    def write(self, writes: TrialWrites) -> bool:
        """Write everything in one transaction. May be repeated: parameters keep their first value, attributes get
        their last.

        Returns:
            False if the trial has ended, or is not there; nothing is written then.

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
        """As Optuna's. Repeated in an outage where a trial is asked for: if only the answer was lost, there is one more
        running trial that no work item owns, which `storage.queue.recovery.WorkRecovery.orphans` finds. A trial from a
        template would stay there twice, so its caller has to look whether it is there and try again.
        """
        create = partial(super().create_new_trial, study_id, template_trial)
        return self._database.retry(create) if template_trial is None else create()

    @repeatable
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's, or collected."""
        if self._collected is not None and self._collected.trial_id == trial_id:
            self._collected.params[param_name] = (param_value_internal, distribution)
        else:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    @repeatable
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's, or collected."""
        if self._collected is not None and self._collected.trial_id == trial_id:
            self._collected.user_attrs[key] = value
        else:
            super().set_trial_user_attr(trial_id, key, value)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if self._seen is not None and study_id in self._seen:
            return
        super()._read_trials_from_remote_storage(study_id)
        if self._seen is not None:
            self._seen.add(study_id)


def _attributes(writes: TrialWrites) -> list[Mapping[str, Any]]:
    return [
        {"trial_id": writes.trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in writes.user_attrs.items()
    ]


def _reopen(database: Database) -> FleetStorage:
    return open_optuna_storage(database)


def open_optuna_storage(database: Database) -> FleetStorage:
    """Optuna's storage on existing tables, cached, working through the engine of ``database``.

    Picklable. Optuna's heartbeats are off: leases replace them.

    Raises:
        SchemaError: the tables are missing, or another Optuna release made them.
        StorageUnavailableError: the database does not answer.
    """
    with database.own_errors():
        return FleetStorage(_checked(database, create_tables=False), database)


def id_of(trial: optuna.Trial) -> int:
    """Optuna's id of a trial, which is not its number."""
    return trial._trial_id


def trial_id_of(study: optuna.Study, number: int) -> int:
    """Optuna's id of the trial of a study with this number."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """A trial that runs already, to go on with: same number, same parameters."""
    return optuna.Trial(study, trial_id_of(study, number))


def stored_trial(trial: optuna.Trial) -> FrozenTrial:
    """A running trial as it is stored now. Not a copy: read it only."""
    return trial.storage.get_trial(trial._trial_id)


def study_id_of(study: optuna.Study) -> int:
    """Optuna's id of a study."""
    return study._study_id


def load_sibling(study: optuna.Study, suffix: str) -> optuna.Study:
    """The study of the same storage whose name has ``suffix`` added, with the same sampler."""
    return optuna.load_study(study_name=study.study_name + suffix, storage=study._storage, sampler=study.sampler)


@repeatable
def running_trials(database: Database, study_name: str) -> list[int]:
    """Numbers of the trials of a study that Optuna takes for running, asked of its tables at this moment.

    Optuna's own way would first read every trial of the study into this process.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    with database.reading() as connection:
        rows = connection.execute(
            select(models.TrialModel.number)
            .join(models.StudyModel, models.StudyModel.study_id == models.TrialModel.study_id)
            .where(models.StudyModel.study_name == study_name, models.TrialModel.state == TrialState.RUNNING)
            .order_by(models.TrialModel.number)
        )
        return list(rows.scalars())


@repeatable
def user_attribute(database: Database, study_name: str, key: str) -> dict[int, Any]:
    """One user attribute of all trials of a study that have it, by trial number, read as `running_trials` does.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    with database.reading() as connection:
        rows = connection.execute(
            select(models.TrialModel.number, models.TrialUserAttributeModel.value_json)
            .join(models.StudyModel, models.StudyModel.study_id == models.TrialModel.study_id)
            .join(models.TrialUserAttributeModel, models.TrialUserAttributeModel.trial_id == models.TrialModel.trial_id)
            .where(models.StudyModel.study_name == study_name, models.TrialUserAttributeModel.key == key)
            .order_by(models.TrialModel.number)
        )
        return {row.number: json.loads(row.value_json) for row in rows}


def create_optuna_tables(database: Database) -> None:
    """Create Optuna's tables and stamp their version. To be called by one process at a time (`storage.schema`).

    Raises:
        SchemaError: another Optuna release made the tables that are there.
    """
    _checked(database, create_tables=True)


def _checked(database: Database, *, create_tables: bool) -> RDBStorage:
    try:
        return _SharedEngineStorage(database, create_tables=create_tables)
    except RuntimeError as error:
        raise SchemaError(f"Optuna's tables in {database.name} are of another release: {error}") from error
    except optuna.exceptions.StorageInternalError as error:
        # Optuna's own text says nothing; the driver's error below it does, and `Database` translates that one.
        raise (error.__cause__ or error) from error
