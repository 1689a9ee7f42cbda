"""Probes that are given up because they would end too late, and their return once the study has more time."""

from __future__ import annotations

from search.study_state.optuna_attributes import GIVEN_UP_ATTRIBUTE, REASON_ATTRIBUTE, RETRY_ATTRIBUTE
from search.study_state.study import Study
from search.study_state.time_left import probes_end
from search.tuning.restore_optuna import optuna_study, record_enqueued
from storage.database.locks import Purpose, exclusive
from storage.optuna_storage.optuna_trials import end_running
from storage.queue.items import WorkItem
from storage.stores import Stores
from storage.values import PROBE_NOTE, WorkKind

TOO_LATE = "the probe was given up, because it would have ended too late for the deadline"
"""Reason of a probe that began and was given up."""


def give_up_probe(stores: Stores, study: Study, item: WorkItem, deadline: float) -> bool:
    """End a probe as failed in Optuna, with the reason `TOO_LATE`, and delete its work item.

    The probe leaves no record, as one that never began, so that it counts neither as planned nor as failed. Optuna
    comes first: if the worker dies in between, the next one takes the item and gives it up again.

    Args:
        item: the probe, held by this worker.
        deadline: the deadline of the study that the probe would miss: Unix seconds on the database's clock.

    Returns:
        False if another worker has taken the item.
    """
    assert item.trial_number is not None, "a probe that began has a trial"
    _end(stores, study, item.trial_number, deadline)
    return stores.queue.discard(item)


def give_up_waiting_probes(stores: Stores, study: Study) -> None:
    """As `give_up_probe`, of the probes that wait for a worker after an interruption, once the deadline has come."""
    if study.deadline is None:
        return
    for item in stores.queue.waiting(study.id, WorkKind.SEARCH):
        if item.trial_number is not None and item.note.get(PROBE_NOTE):
            _end(stores, study, item.trial_number, study.deadline)
            stores.queue.withdraw(item.id)


def _end(stores: Stores, study: Study, number: int, deadline: float) -> None:
    attributes = {REASON_ATTRIBUTE: TOO_LATE, GIVEN_UP_ATTRIBUTE: deadline}
    end_running(optuna_study(stores, study.stored), number, attributes)
    stores.enqueued.remove(study.id, [number])


def enqueue_given_up(stores: Stores, study: Study) -> int:
    """Enqueue the probes again that were given up for an earlier deadline, each at most once.

    Nothing is enqueued if the probes have had their share of the new time as well.

    Returns:
        The number of enqueued probes.
    """
    has_time = study.deadline is None or study.budget == 0 or stores.database.now() < probes_end(study)
    if not has_time:
        return 0
    backend = optuna_study(stores, study.stored)
    with exclusive(stores.database, Purpose.TRIALS):
        known = backend.get_trials(deepcopy=False)
        enqueued_before = {trial.user_attrs.get(RETRY_ATTRIBUTE) for trial in known}
        enqueued = 0
        for trial in known:
            missed = trial.user_attrs.get(GIVEN_UP_ATTRIBUTE)
            if missed is None or trial.number in enqueued_before or (study.deadline or float("inf")) <= missed:
                continue
            ended = (REASON_ATTRIBUTE, GIVEN_UP_ATTRIBUTE)
            kept = {name: value for name, value in trial.user_attrs.items() if name not in ended}
            backend.enqueue_trial(trial.params, user_attrs={**kept, RETRY_ATTRIBUTE: trial.number})
            enqueued += 1
        record_enqueued(stores, study.id, backend)
    return enqueued
