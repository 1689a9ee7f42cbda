"""Telling Optuna what is stored.

Our tables are written first, in one transaction; Optuna is told afterwards. A worker that dies in between leaves an
outcome untold, which the next one tells: so telling is idempotent, and everything it needs is in the record.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import optuna
from optuna.trial import TrialState

from search.statistics.ranking import objective_name
from search.study_state.optuna_attributes import SECONDS, SIBLINGS, WORK_ATTRIBUTE
from search.study_state.snapshot import objective_of
from storage.optuna_storage import TrialWrites, load_sibling, trial_id_of
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.metrics import METRICS

STATES: dict[TrialStatus, TrialState] = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.PRUNED: TrialState.PRUNED,
    # As pruned, with its reason, so that the sampler learns to keep away; failures teach it nothing.
    TrialStatus.DIVERGED: TrialState.PRUNED,
    TrialStatus.FAILED: TrialState.FAIL,
}

OBJECTIVES = {objective_name(metric): metric for metric in METRICS}
"""Metrics by the name of the objective in Optuna."""


def tell(stores: Stores, study_id: int, study: optuna.Study, work_id: int | None = None) -> None:
    """Tell Optuna every outcome of a study that it does not know yet, or that of one work item.

    Several processes may tell the same outcome at the same moment: one of them does.
    """
    for record in stores.queue.unreported(study_id, work_id):
        _tell_one(stores, study, record)


def _tell_one(stores: Stores, study: optuna.Study, record: TrialRecord) -> None:
    if record.kind is WorkKind.SEARCH:
        if record.number is not None:
            _tell_trial(stores, study, record)
    elif record.status is TrialStatus.FINISHED:
        stores.database.retry(partial(_add_to_sibling, study, record))  # whole: it looks whether it is there
    stores.queue.mark_reported(record.work_id)


def _tell_trial(stores: Stores, study: optuna.Study, record: TrialRecord) -> None:
    assert record.number is not None
    trial_id = trial_id_of(study, record.number)
    backend = stores.optuna_storage
    if not backend.write(TrialWrites(trial_id, user_attrs=_attributes(record))):
        return  # another process has told it meanwhile
    state = STATES[record.status]
    # It may still do so at any moment.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        if state is TrialState.COMPLETE and record.value is not None:
            # What `tell` does for a value that is known to be a finite number, without reading the trial again.
            backend.set_trial_state_values(trial_id, state, [objective_value(study, record)])
        else:
            study.tell(record.number, state=state, skip_if_finished=True)


def objective_value(study: optuna.Study, record: TrialRecord) -> float:
    """The objective value of a finished trial: what it is worth (`search.statistics.ranking`), which is less a matter
    of luck than the metric.
    """
    names = study.metric_names
    assert names, "studies are created with the name of their objective"
    return objective_of(record, OBJECTIVES[names[0]])


def _add_to_sibling(study: optuna.Study, record: TrialRecord) -> None:
    sibling = load_sibling(study, SIBLINGS[record.kind])
    if any(trial.user_attrs.get(WORK_ATTRIBUTE) == record.work_id for trial in sibling.get_trials(deepcopy=False)):
        return
    if record.value is None:
        return  # trained on all images: there is no score to show
    recipe = record.recipe or {}
    sibling.add_trial(
        optuna.create_trial(
            value=record.value,
            user_attrs={**_attributes(record), **recipe, **record.note, "seed": record.seed, "split": record.split},
        )
    )


def _attributes(record: TrialRecord) -> dict[str, object]:
    """What becomes a sortable column of the dashboard."""
    attributes: dict[str, object] = {
        WORK_ATTRIBUTE: record.work_id,
        "metric": record.value,
        "standard_error": record.value_se,
        "true_class_probability": record.soft,
        "brier_score_of_average": record.brier,
        "ambiguity": record.ambiguity,
        SECONDS: round(record.seconds, 1),
    }
    if record.reason:
        attributes["reason"] = record.reason
    return {name: value for name, value in attributes.items() if value is not None}
