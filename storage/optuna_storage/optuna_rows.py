"""Queries of Optuna's tables, and studies that are written into them.

The queries are our own, because Optuna would first read every trial of the study into this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database.connection import Database
from storage.database.outages import repeatable


@repeatable
def find_optuna_study(database: Database, name: str) -> tuple[int, int] | None:
    """Optuna's id of the study of that name and the number of its trials; None if Optuna has no such study.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    trials = select(func.count()).where(models.TrialModel.study_id == models.StudyModel.study_id).scalar_subquery()
    with database.reading() as connection:
        row = connection.execute(
            select(models.StudyModel.study_id, trials).where(models.StudyModel.study_name == name)
        ).one_or_none()
    return None if row is None else (row[0], row[1])


@repeatable
def restore_optuna_study(
    database: Database, name: str, metric_names: Sequence[str], trials: Sequence[FrozenTrial]
) -> bool:
    """Create a study with trials, in one transaction, so that other processes see all of it or nothing.

    The direction is "maximize". The ids are new. SQLite uses the ids of deleted rows again, and processes that run
    would take the new rows for those that their caches hold. So the ids begin at the clock's milliseconds there.

    Args:
        trials: in the order of their numbers, from 0; their ids are ignored.

    Returns:
        False if Optuna has a study of that name, perhaps since a moment ago. Nothing is written then.

    Raises:
        StorageUnavailableError: the database does not answer.
    """
    fresh = int(time.time() * 1000) if database.is_sqlite else None
    with database.writing() as connection:

        def new_id(column: Any) -> dict[str, int]:
            if fresh is None:
                return {}
            return {column.key: max(fresh, (connection.execute(select(func.max(column))).scalar_one() or 0) + 1)}

        study_id = connection.execute(
            database.insert(models.StudyModel)
            .values(study_name=name, **new_id(models.StudyModel.study_id))
            .on_conflict_do_nothing(index_elements=["study_name"])
            .returning(models.StudyModel.study_id)
        ).scalar_one_or_none()
        if study_id is None:
            return False
        ids = new_id(models.TrialModel.trial_id)
        with Session(bind=connection) as session:
            session.add_all(
                [
                    models.StudyDirectionModel(study_id=study_id, direction=StudyDirection.MAXIMIZE, objective=0),
                    models.StudySystemAttributeModel(
                        study_id=study_id, key=_SYSTEM_ATTR_METRIC_NAMES, value_json=json.dumps(list(metric_names))
                    ),
                ]
            )
            rows = [_trial_row(study_id, trial) for trial in trials]
            for key, first in ids.items():
                for place, row in enumerate(rows):
                    setattr(row, key, first + place)
            session.add_all(rows)
            session.flush()
        return True


def _trial_row(study_id: int, trial: FrozenTrial) -> models.TrialModel:
    """A trial with all that belongs to it, as rows of Optuna's tables that are not stored yet."""
    row = models.TrialModel(study_id=study_id, number=trial.number, state=trial.state)
    row.datetime_start, row.datetime_complete = trial.datetime_start, trial.datetime_complete
    row.params = [
        models.TrialParamModel(
            param_name=name,
            param_value=distribution.to_internal_repr(trial.params[name]),
            distribution_json=distribution_to_json(distribution),
        )
        for name, distribution in trial.distributions.items()
    ]
    row.user_attributes = [
        models.TrialUserAttributeModel(key=key, value_json=json.dumps(value)) for key, value in trial.user_attrs.items()
    ]
    row.system_attributes = [
        models.TrialSystemAttributeModel(key=key, value_json=json.dumps(value))
        for key, value in trial.system_attrs.items()
    ]
    finite = models.TrialValueModel.TrialValueType.FINITE
    row.values = [
        models.TrialValueModel(objective=place, value=value, value_type=finite)
        for place, value in enumerate(trial.values or ())
    ]
    step_type = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    row.intermediate_values = [
        models.TrialIntermediateValueModel(step=step, intermediate_value=value, intermediate_value_type=step_type)
        for step, value in trial.intermediate_values.items()
    ]
    return row


@repeatable
def running_trials(database: Database, study_name: str) -> list[int]:
    """Numbers of the trials that are running according to Optuna's tables.

    A query of our own, because Optuna would first read every trial of the study into this process.

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
    """The values of a user attribute by trial number, for all trials that have it; a query as in `running_trials`.

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
