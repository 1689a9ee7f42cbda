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
from search.study_state.optuna_attributes import (
    OBJECTIVE_ATTRIBUTE,
    REASON_ATTRIBUTE,
    SECONDS_ATTRIBUTE,
    SIBLINGS,
    WORK_ATTRIBUTE,
)
from search.study_state.search_trials import objective_of
from storage.optuna_storage.fleet_storage import TrialWrites
from storage.optuna_storage.optuna_trials import load_sibling, trial_id_of
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.metrics import METRICS
from trainer.inference.printable import excerpt

STATES: dict[TrialStatus, TrialState] = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.PRUNED: TrialState.PRUNED,
    # Samplers learn from pruned trials, here to keep away, and nothing from failed ones. The attributes say why.
    TrialStatus.DIVERGED: TrialState.PRUNED,
    TrialStatus.FAILED: TrialState.FAIL,
}

LONGEST_REASON = 120  # characters of a reason in a table
_EARLIER_NAMES = {objective_name(metric): metric for metric in METRICS if objective_name(metric) != metric}
"""Metric by the name of the objective, in studies of earlier releases."""


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
    if not backend.write(TrialWrites(trial_id, user_attrs=attributes_of(record, metric_of(study)))):
        return  # another process has reported it meanwhile
    if record.attempt > 1:
        _report_missing_epochs(stores, trial_id, record)
    state = STATES[record.status]
    # Another process may still report the trial between the write above and the end of this block.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        value = value_of_trial(study, record)
        if value is None:
            study.tell(record.number, state=state, skip_if_finished=True)
        else:
            # Same effect as `study.tell` with a finite value, without reading the trial again.
            backend.set_trial_state_values(trial_id, state, [value])


def _report_missing_epochs(stores: Stores, trial_id: int, record: TrialRecord) -> None:
    """Report the epochs that Optuna lacks because its study was restored while the trial ran."""
    backend = stores.optuna_storage
    known = backend.get_trial(trial_id).intermediate_values
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        for epoch, value in reported_epochs(stores, record).items():
            if epoch not in known:
                backend.set_trial_intermediate_value(trial_id, epoch, value)


def value_of_trial(study: optuna.Study, record: TrialRecord) -> float | None:
    """The value of a trial in Optuna's displays: the study's metric after the trial's last epoch.

    Samplers see the objective instead (`search.study_state.optuna_attributes.OBJECTIVE_ATTRIBUTE`). A study that an
    earlier release began goes on with the objective as the value, under the name that it has for it.

    Returns:
        None for a failed trial, for one without a finite score, and for a pruned one of such an earlier study. Then
        Optuna takes the last value that the trial reported.
    """
    metric = metric_of(study)
    if metric == _name_of_value(study):
        return shown_value(record)
    return objective_of(record, metric) if record.status is TrialStatus.FINISHED else None


def metric_of(study: optuna.Study) -> str:
    """Name of the metric of a study of the search, by the name that Optuna has for the values of its trials."""
    name = _name_of_value(study)
    return _EARLIER_NAMES.get(name, name)


def _name_of_value(study: optuna.Study) -> str:
    names = study.metric_names
    assert names, "studies are created with the name of their metric"
    return names[0]


def shown_value(record: TrialRecord) -> float | None:
    """The metric of a finished, pruned or diverged trial, with the four decimal places of all tables.

    None for a failed trial, and if the metric is not finite.
    """
    if record.status is TrialStatus.FAILED or record.value is None or not math.isfinite(record.value):
        return None
    return round(record.value, 4)


def _add_to_sibling(study: optuna.Study, record: TrialRecord) -> None:
    """Copy a confirmation or refit to the Optuna study that shows these, unless it is there already."""
    sibling = load_sibling(study, SIBLINGS[record.kind])
    if any(trial.user_attrs.get(WORK_ATTRIBUTE) == record.work_id for trial in sibling.get_trials(deepcopy=False)):
        return
    if record.value is None:
        return  # trained on all images, so that no score was measured
    sibling.add_trial(sibling_trial(record, metric_of(study)))


def sibling_trial(record: TrialRecord, metric: str) -> FrozenTrial:
    """The trial of a sibling study that shows a confirmation or refit with a score; arguments as `attributes_of`."""
    attributes = {**attributes_of(record, metric), **(record.recipe or {}), **record.note}
    return optuna.create_trial(
        value=shown_value(record), user_attrs={**attributes, "seed": record.seed, "split": record.split}
    )


def reported_epochs(stores: Stores, record: TrialRecord) -> dict[int, float]:
    """The value that a trial reports to Optuna after each epoch, by epoch; without values that are not finite."""
    curves = stores.trials.curves(record.id)
    return {c.epoch: c.mean_true_probability for c in curves if math.isfinite(c.mean_true_probability)}


def attributes_of(record: TrialRecord, metric: str) -> dict[str, object]:
    """User attributes of a trial. Optuna Dashboard sorts them by name and shows the first six without scrolling.

    Args:
        metric: name of the study's metric.
    """
    finished = record.status is TrialStatus.FINISHED and None not in (record.value, record.brier, record.ambiguity)
    attributes: dict[str, object] = {
        **at_a_glance(record),
        OBJECTIVE_ATTRIBUTE: objective_of(record, metric) if finished else None,
        WORK_ATTRIBUTE: record.work_id,
        "search_brier": record.brier,
        "search_ambiguity": record.ambiguity,
        SECONDS_ATTRIBUTE: round(record.seconds, 1),
    }
    if record.reason:
        attributes[REASON_ATTRIBUTE] = record.reason
    return {name: value for name, value in attributes.items() if value is not None}


def at_a_glance(record: TrialRecord) -> dict[str, object]:
    """What one look at a trial should tell beside its number of epochs: score, backbone, minutes, why it ended."""
    done, epochs = record.epochs_done, (record.recipe or {}).get("epochs")
    return {
        "score": None if record.value is None else f"{record.value:.4f} ± {record.value_se or 0.0:.4f}",
        "backbone": (record.recipe or {}).get("backbone"),
        "minutes": round(record.seconds / 60.0, 2),
        "ended": excerpt(record.reason, LONGEST_REASON) or f"{record.status} after {done} of {epochs} epochs",
    }
