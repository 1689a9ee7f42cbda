"""Restoring a study in Optuna's tables from Retable's records.

Optuna's own tools delete and rename studies (`optuna delete-study`, Optuna Dashboard). Samplers, pruners and waiting
trials live on Optuna's half of a study. Retable's records hold what is needed to lay that half down again.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.runtime.errors import SearchError
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, PROBE_ATTRIBUTE, REASON_ATTRIBUTE, SIBLINGS
from search.study_state.study import Study
from search.tuning.report_to_optuna import STATES, attributes_of, reported_epochs, shown_value, sibling_trial
from search.tuning.suggest import distribution_of
from storage.optuna_storage.optuna_rows import find_optuna_study, restore_optuna_study
from storage.optuna_storage.optuna_trials import FIXED_PARAMS, study_id_of
from storage.records.enqueued_trials import EnqueuedRecord
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from studies.space.fit_recipe import parameters_for
from studies.spec import StudySpec

NEVER_BEGAN = "Optuna's study was deleted before this trial began"
"""Reason of a trial that keeps the place of a number without any record."""

log = logging.getLogger(__name__)


class ForeignOptunaStudy(SearchError):
    """Optuna has a study of this name that does not hold the recorded trials."""


def optuna_study(
    stores: Stores, stored: StoredStudy, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    """Optuna's study, restored if it is gone.

    Raises:
        ForeignOptunaStudy, StudyError: as `restore_if_gone`.
    """
    restore_if_gone(stores, stored)
    return stores.optuna_study(stored.name, sampler)


def is_replaced(stores: Stores, study: optuna.Study) -> bool:
    """Whether Optuna's study was deleted since ``study`` was loaded. It may have been restored, with another id."""
    found = find_optuna_study(stores.database, study.study_name)
    return found is None or found[0] != study_id_of(study)


def restore_if_gone(stores: Stores, stored: StoredStudy) -> bool:
    """Restore those of a study's Optuna studies that are gone. Cheap if none is, so it may be polled.

    Any number of processes may call it at once, while workers run.

    Returns:
        Whether this call restored the study of the search trials.

    Raises:
        ForeignOptunaStudy: a study of this name has fewer trials than were recorded.
        StudyError: one is gone, and the study's specification is not valid in this release.
    """
    database = stores.database
    begun = stores.queue.trials_begun(stored.id)  # first, because Optuna creates a trial before it is recorded
    found = find_optuna_study(database, stored.name)
    if found is not None and 0 < found[1] < begun:
        raise ForeignOptunaStudy(
            f"Optuna's study {stored.name!r} in {database.name} has {found[1]} trials, but Retable has recorded "
            f"{begun}: another program has replaced the study. Delete or rename that study in Optuna Dashboard "
            f"(`search dashboard --writable`); then `search start --study {stored.name}` restores the recorded trials"
        )
    if found is not None and found[1] == 0 and begun:
        optuna.delete_study(study_name=stored.name, storage=stores.optuna_storage)
        found = None
    restored = False
    if found is None:
        trials = _search_trials(stores, Study.of(stored))
        restored = restore_optuna_study(database, stored.name, [Study.of(stored).metric], trials)
        if restored:
            log.warning(
                "study %s was gone from Optuna's tables; its %d trials are restored from Retable's records",
                stored.name,
                len(trials),
            )
    for kind, suffix in SIBLINGS.items():
        if find_optuna_study(database, stored.name + suffix) is None:
            records = stores.trials.records(stored.id, kind=kind, status=TrialStatus.FINISHED)
            metric = Study.of(stored).metric
            copies = [sibling_trial(record, metric) for record in records if record.value is not None]
            restore_optuna_study(database, stored.name + suffix, [metric], _numbered(copies))
    return restored


def record_enqueued(stores: Stores, study_id: int, study: optuna.Study) -> None:
    """Record the trials that wait in Optuna's study. Call it after each change to them."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    stores.enqueued.add(
        study_id,
        [
            EnqueuedRecord(
                number=trial.number,
                params=dict(trial.system_attrs.get(FIXED_PARAMS, {})),
                attributes=dict(trial.user_attrs),
            )
            for trial in waiting
        ],
    )


def _search_trials(stores: Stores, study: Study) -> list[FrozenTrial]:
    """The trials of a study's search, by number, as Optuna had them."""
    enqueued = {trial.number: trial for trial in stores.enqueued.all(study.id)}
    recipes = stores.queue.assigned_trials(study.id)
    records = {r.number: r for r in stores.trials.records(study.id, kind=WorkKind.SEARCH) if r.number is not None}
    paused = {r.number: r for r in stores.trials.paused(study.id)}
    trials = []
    for number in range(max((*enqueued, *recipes), default=-1) + 1):
        waiting = enqueued.get(number)
        trial = _empty_trial(TrialState.WAITING)
        if waiting is not None:
            trial.user_attrs, trial.system_attrs = waiting.attributes, {FIXED_PARAMS: waiting.params}
        if number in recipes:
            _begin(trial, study, recipes[number], waiting)
        elif waiting is None:
            trial.state, trial.user_attrs = TrialState.FAIL, {REASON_ATTRIBUTE: NEVER_BEGAN}
        if number in records:
            _end(trial, stores, study, records[number])
        elif number in paused:
            trial.intermediate_values = reported_epochs(stores, paused[number])
        trials.append(trial)
    return _numbered(trials)


def _begin(trial: FrozenTrial, study: Study, recipe: Mapping[str, Any], enqueued: EnqueuedRecord | None) -> None:
    """Make it a running trial of a flat recipe. Its epochs so far are reported later, with its outcome."""
    trial.state = TrialState.RUNNING
    trial.datetime_start = datetime.datetime.now()
    trial.user_attrs[EPOCHS_ATTRIBUTE] = recipe["epochs"]
    if enqueued is not None and PROBE_ATTRIBUTE in enqueued.attributes:
        # The recipe of a probe differs from its parameters.
        recipe = study.spec.assemble(enqueued.params)
    trial.params, trial.distributions = sampled_parts(study.spec, recipe)


def sampled_parts(
    spec: StudySpec, recipe: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, optuna.distributions.BaseDistribution]]:
    """The parameters from which `search.tuning.suggest.sample` made a flat recipe, and their distributions, by name."""
    params, distributions = dict[str, Any](), dict[str, optuna.distributions.BaseDistribution]()
    for dimension in spec.space:
        if dimension.is_active(recipe):
            values = parameters_for(dimension, recipe[dimension.field])
            params |= values
            distributions |= {p.name: distribution_of(p) for p in dimension.parameters if p.name in values}
    return params, distributions


def _end(trial: FrozenTrial, stores: Stores, study: Study, record: TrialRecord) -> None:
    """Make it a trial with this outcome."""
    trial.state = STATES[record.status]
    trial.user_attrs |= attributes_of(record, study.metric)
    trial.intermediate_values = reported_epochs(stores, record)
    value = shown_value(record)
    if value is not None:
        trial.value = value
    elif trial.state is TrialState.PRUNED and trial.last_step is not None:
        trial.value = trial.intermediate_values[trial.last_step]  # as `optuna.Study.tell`
    # Optuna's trials have local times.
    trial.datetime_complete = datetime.datetime.fromtimestamp(record.finished)
    trial.datetime_start = trial.datetime_complete - datetime.timedelta(seconds=record.seconds)


def _empty_trial(state: TrialState) -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _numbered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    for number, trial in enumerate(trials):
        trial.number = number
    return trials
