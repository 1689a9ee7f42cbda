"""Optuna's trials by their numbers: identifiers, and trials that begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

FIXED_PARAMS = "fixed_params"
"""Optuna's system attribute of an enqueued trial: the values that it has to take, by parameter name."""
ENDED_BECAUSE = "reason"
"""User attribute of a trial that ended without a result: why."""


def id_of(trial: optuna.Trial) -> int:
    """Optuna's id of a trial, which is not its number."""
    return trial._trial_id


def trial_id_of(study: optuna.Study, number: int) -> int:
    """Optuna's id of the trial of a study with this number."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """The running trial ``number`` of a study, to be continued."""
    return optuna.Trial(study, trial_id_of(study, number))


def begin_waiting(study: optuna.Study, number: int) -> optuna.Trial | None:
    """Begin the waiting trial ``number`` of a study; None if another process has begun or ended it."""
    trial_id = trial_id_of(study, number)
    try:
        begun = study._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    except optuna.exceptions.UpdateFinishedTrialError:
        return None
    return running_trial(study, number) if begun else None


def set_fixed_params(study: optuna.Study, number: int, params: Mapping[str, Any]) -> None:
    """Replace the parameters with which the waiting trial ``number`` of a study will begin."""
    study._storage.set_trial_system_attr(trial_id_of(study, number), FIXED_PARAMS, dict(params))


def end_waiting(study: optuna.Study, number: int, reason: str) -> bool:
    """End the waiting trial ``number`` of a study as failed, with the attribute ``reason``; False if it has begun."""
    if begin_waiting(study, number) is None:
        return False
    end_running(study, number, {ENDED_BECAUSE: reason})
    return True


def end_running(study: optuna.Study, number: int, attributes: Mapping[str, object]) -> None:
    """End the running trial ``number`` of a study as failed, with user attributes; a trial that has ended stays."""
    trial = running_trial(study, number)
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def stored_trial(trial: optuna.Trial) -> FrozenTrial:
    """The stored state of a running trial. It is not a copy: do not change it."""
    return trial.storage.get_trial(trial._trial_id)


def study_id_of(study: optuna.Study) -> int:
    """Optuna's id of a study."""
    return study._study_id


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    """What Optuna and its dashboard keep of a study beside its trials, by name."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: str) -> None:
    """Set one of `system_attributes`."""
    study._storage.set_study_system_attr(study._study_id, name, value)


def load_sibling(study: optuna.Study, suffix: str) -> optuna.Study:
    """The study of the same storage whose name has ``suffix`` added, with the same sampler."""
    return optuna.load_study(study_name=study.study_name + suffix, storage=study._storage, sampler=study.sampler)
