"""Telling Optuna what is stored.

Our tables are written first, in one transaction; Optuna is told afterwards. A worker that dies in between leaves an
outcome untold, which the next one tells: so telling is idempotent, and everything it needs is in the record.
"""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from search.patience import patiently
from storage.values import TrialRecord, TrialStatus, WorkKind
from storage.work import WorkQueue

STATES: dict[TrialStatus, TrialState] = {
    TrialStatus.FINISHED: TrialState.COMPLETE,
    TrialStatus.PRUNED: TrialState.PRUNED,
    # As pruned, with its reason, so that the sampler learns to keep away; failures teach it nothing.
    TrialStatus.DIVERGED: TrialState.PRUNED,
    TrialStatus.FAILED: TrialState.FAIL,
}

SIBLINGS: dict[WorkKind, str] = {WorkKind.CONFIRM: ".confirm", WorkKind.REFIT: ".final"}
"""What is added to a study's name for the Optuna study that shows its confirmations and refits."""

WORK_ATTRIBUTE = "work_item"


def tell_all(queue: WorkQueue, study_id: int, study: optuna.Study) -> None:
    """Tell Optuna every outcome of a study that it does not know yet."""
    for record in patiently(lambda: queue.untold(study_id)):
        _tell_one(queue, study, record)


def _tell_one(queue: WorkQueue, study: optuna.Study, record: TrialRecord) -> None:
    if record.kind is WorkKind.SEARCH:
        if record.number is not None:
            patiently(lambda: _tell_trial(study, record))
    elif record.status is TrialStatus.FINISHED:
        patiently(lambda: _add_to_sibling(study, record))
    patiently(lambda: queue.mark_told(record.work_id))


def _tell_trial(study: optuna.Study, record: TrialRecord) -> None:
    assert record.number is not None
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, record.number)
    try:
        for name, value in _attributes(record).items():
            study._storage.set_trial_user_attr(trial_id, name, value)
    except optuna.exceptions.UpdateFinishedTrialError:
        return  # another worker has told it meanwhile
    state = STATES[record.status]
    values = record.value if state is TrialState.COMPLETE else None
    study.tell(record.number, values, state=state, skip_if_finished=True)


def _add_to_sibling(study: optuna.Study, record: TrialRecord) -> None:
    sibling = optuna.load_study(
        study_name=study.study_name + SIBLINGS[record.kind], storage=study._storage, sampler=study.sampler
    )
    if any(trial.user_attrs.get(WORK_ATTRIBUTE) == record.work_id for trial in sibling.get_trials(deepcopy=False)):
        return
    if record.value is None:
        return  # trained on all images: there is no score to show
    recipe = record.recipe or {}
    sibling.add_trial(
        optuna.create_trial(
            value=record.value,
            user_attrs={**_attributes(record), **recipe, "seed": record.seed, "split": record.split},
        )
    )


def _attributes(record: TrialRecord) -> dict[str, object]:
    """What becomes a sortable column of the dashboard."""
    attributes: dict[str, object] = {
        WORK_ATTRIBUTE: record.work_id,
        "metric": record.value,
        "standard_error": record.value_se,
        "true_class_probability": record.soft,
        "seconds": round(record.seconds, 1),
    }
    if record.reason:
        attributes["reason"] = record.reason
    return {name: value for name, value in attributes.items() if value is not None}
