"""Reporting stored outcomes to Optuna.

An outcome is first written to Retable's own tables, in one transaction, and then reported to Optuna. A worker that dies
in between leaves an unreported outcome, which another process reports later. Reporting is therefore idempotent, and the
stored record holds everything that it needs.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.statistics.ranking import objective_name
from search.study_state.optuna_attributes import REASON_ATTRIBUTE, SECONDS_ATTRIBUTE, SIBLINGS, WORK_ATTRIBUTE
from search.study_state.search_trials import objective_of
from storage.optuna_storage.fleet_storage import TrialWrites
from storage.optuna_storage.optuna_trials import load_sibling, trial_id_of
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.metrics import METRICS

STATES: dict[TrialStatus, TrialState] = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.PRUNED: TrialState.PRUNED,
    # Samplers learn from pruned trials, here to keep away, and nothing from failed ones. The attributes say why.
    TrialStatus.DIVERGED: TrialState.PRUNED,
    TrialStatus.FAILED: TrialState.FAIL,
}

OBJECTIVES = {objective_name(metric): metric for metric in METRICS}
"""Metric by the name under which Optuna knows its objective."""


def report_to_optuna(stores: Stores, study_id: int, study: optuna.Study, work_id: int | None = None) -> None:
    """Report every unreported outcome of a study to Optuna, or only that of the work item ``work_id``.

    Several processes may report the same outcome at the same moment: it reaches Optuna once.
    """
    for record in stores.queue.unreported(study_id, work_id):
        _report(stores, study, record)


def _report(stores: Stores, study: optuna.Study, record: TrialRecord) -> None:
    if record.kind is WorkKind.SEARCH:
        if record.number is not None:
            _report_trial(stores, study, record)
    elif record.status is TrialStatus.FINISHED:
        # The retry covers the check for an earlier copy as well.
        stores.database.retry(partial(_add_to_sibling, study, record))
    stores.queue.mark_reported(record.work_id)


def _report_trial(stores: Stores, study: optuna.Study, record: TrialRecord) -> None:
    assert record.number is not None
    trial_id = trial_id_of(study, record.number)
    backend = stores.optuna_storage
    if not backend.write(TrialWrites(trial_id, user_attrs=attributes_of(record))):
        return  # another process has reported it meanwhile
    if record.attempt > 1:
        _report_missing_epochs(stores, trial_id, record)
    state = STATES[record.status]
    # Another process may still report the trial between the write above and the end of this block.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        if state is TrialState.COMPLETE and record.value is not None:
            # Same effect as `study.tell` with a finite value, without reading the trial again.
            backend.set_trial_state_values(trial_id, state, [objective_value(study, record)])
        else:
            study.tell(record.number, state=state, skip_if_finished=True)


def _report_missing_epochs(stores: Stores, trial_id: int, record: TrialRecord) -> None:
    """Report the epochs that Optuna lacks because its study was restored while the trial ran."""
    backend = stores.optuna_storage
    known = backend.get_trial(trial_id).intermediate_values
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        for epoch, value in reported_epochs(stores, record).items():
            if epoch not in known:
                backend.set_trial_intermediate_value(trial_id, epoch, value)


def objective_value(study: optuna.Study, record: TrialRecord) -> float:
    """The objective of a finished trial that Optuna receives, see `search.statistics.ranking.objective`.

    It is less noisy than the metric.
    """
    names = study.metric_names
    assert names, "studies are created with the name of their objective"
    return objective_of(record, OBJECTIVES[names[0]])


def _add_to_sibling(study: optuna.Study, record: TrialRecord) -> None:
    """Copy a confirmation or refit to the Optuna study that shows these, unless it is there already."""
    sibling = load_sibling(study, SIBLINGS[record.kind])
    if any(trial.user_attrs.get(WORK_ATTRIBUTE) == record.work_id for trial in sibling.get_trials(deepcopy=False)):
        return
    if record.value is None:
        return  # trained on all images, so that no score was measured
    sibling.add_trial(sibling_trial(record))


def sibling_trial(record: TrialRecord) -> FrozenTrial:
    """The trial of a sibling study that shows a confirmation or refit with a score."""
    attributes = {**attributes_of(record), **(record.recipe or {}), **record.note}
    return optuna.create_trial(
        value=record.value, user_attrs={**attributes, "seed": record.seed, "split": record.split}
    )


def reported_epochs(stores: Stores, record: TrialRecord) -> dict[int, float]:
    """The value that a trial reports to Optuna after each epoch, by epoch; without values that are not finite."""
    curves = stores.trials.curves(record.id)
    return {c.epoch: c.mean_true_probability for c in curves if math.isfinite(c.mean_true_probability)}


def attributes_of(record: TrialRecord) -> dict[str, object]:
    """User attributes of a trial; each is a sortable column of the dashboard."""
    attributes: dict[str, object] = {
        WORK_ATTRIBUTE: record.work_id,
        "metric": record.value,
        "standard_error": record.value_se,
        "true_class_probability": record.mean_true_probability,
        "brier_score_of_average": record.brier,
        "ambiguity": record.ambiguity,
        SECONDS_ATTRIBUTE: round(record.seconds, 1),
    }
    if record.reason:
        attributes[REASON_ATTRIBUTE] = record.reason
    return {name: value for name, value in attributes.items() if value is not None}
