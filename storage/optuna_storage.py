"""Optuna's tables, reached through our engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel, TrialModel, TrialUserAttributeModel
from optuna.trial import TrialState
from sqlalchemy import NullPool, QueuePool, select
from sqlalchemy.orm import scoped_session, sessionmaker

from storage.database.connection import repeatable
from storage.database.engine import BUSY_TIMEOUT, CONNECT_TIMEOUT
from storage.errors import SchemaError
from storage.fleet_storage import FleetStorage

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
        return _reopen, (self._database,)


def _reopen(database: Database) -> RDBStorage:
    return _SharedEngineStorage(database, create_tables=False)


def open_optuna_storage(database: Database) -> FleetStorage:
    """Optuna's storage on existing tables, cached.

    Raises:
        SchemaError: the tables are missing, or another Optuna release made them.
    """
    return FleetStorage(_checked(database, create_tables=False), database)


@repeatable
def running_trials(database: Database, study_name: str) -> list[int]:
    """Numbers of the trials of a study that Optuna takes for running, asked of its tables at this moment.

    Optuna's own way would first read every trial of the study into this process.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    with database.reading() as connection:
        rows = connection.execute(
            select(TrialModel.number)
            .join(StudyModel, StudyModel.study_id == TrialModel.study_id)
            .where(StudyModel.study_name == study_name, TrialModel.state == TrialState.RUNNING)
            .order_by(TrialModel.number)
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
            select(TrialModel.number, TrialUserAttributeModel.value_json)
            .join(StudyModel, StudyModel.study_id == TrialModel.study_id)
            .join(TrialUserAttributeModel, TrialUserAttributeModel.trial_id == TrialModel.trial_id)
            .where(StudyModel.study_name == study_name, TrialUserAttributeModel.key == key)
            .order_by(TrialModel.number)
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
