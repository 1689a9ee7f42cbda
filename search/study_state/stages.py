"""The stages of a study (search, confirmation, refits): which of them are over, and which work is running."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    PROBE_ATTRIBUTE,
    teacher_under_way,
)
from search.study_state.snapshot import StudySnapshot
from storage.queue.items import HeldItem
from storage.stores import Stores
from storage.values import OF_PROBE_NOTE, TRIAL_NOTE, StudyState, TrialRecord, WorkKind


def search_is_over(snapshot: StudySnapshot) -> bool:
    """Whether no trial is running and none will begin or continue. A paused search is not over.

    Of a search that was stopped or has no time left, trials may be paused that never continue.
    """
    study = snapshot.study
    if snapshot.running or snapshot.paused:
        return False
    left = snapshot.seconds_to_deadline
    if study.state is StudyState.STOPPED or (left is not None and left <= 0.0):
        return True
    if not snapshot.in_time_for_trial:
        # A probe may be in time where no other trial is.
        return study.budget == 0 or not snapshot.probes_waiting
    if snapshot.waiting or snapshot.probes_waiting or snapshot.trials_paused:
        return False
    return study.budget is not None and snapshot.counted >= study.budget


def confirmations_are_over(snapshot: StudySnapshot) -> bool:
    """Whether every queued confirmation has ended, or the time left is too short to begin another."""
    if snapshot.paused and snapshot.confirms_open:
        return False
    return not snapshot.confirms_open or not (snapshot.confirms_running or snapshot.in_time_to_confirm)


def refits_are_over(snapshot: StudySnapshot) -> bool:
    """Whether every queued refit has ended."""
    return snapshot.refits_open == 0


def running_work(stores: Stores, snapshot: StudySnapshot) -> str:
    """A description of the running refit, confirmations, or trials with their epochs; empty if nothing runs."""
    if snapshot.refits_open:
        total = snapshot.refits_done + snapshot.refits_open
        return f"refit {snapshot.refits_done + 1} of {total}"
    if snapshot.confirms_open:
        total = snapshot.confirms_done + snapshot.confirms_open
        held = stores.queue.held(snapshot.study.id)
        running = [confirmation_name(item) for item in held if item.kind is WorkKind.CONFIRM]
        return f"confirming {snapshot.confirms_done + 1} of {total}" + (": " + ", ".join(running) if running else "")
    if not snapshot.running:
        return "workers are starting" if not snapshot.workers else ""
    try:
        study = stores.optuna_study(snapshot.study.name)
    except KeyError:
        # Another program has deleted Optuna's study; the next sweep restores it.
        return f"{snapshot.running} trial(s)"
    trials = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    # In Optuna, trials run as well that are paused, or that wait for a worker after an interruption.
    in_training = {item.trial_number for item in stores.queue.held(snapshot.study.id)}
    trials = [trial for trial in trials if trial.number in in_training]
    return ", ".join(_running_trial(trial) for trial in trials)


def _running_trial(trial: FrozenTrial) -> str:
    if PROBE_ATTRIBUTE in trial.user_attrs:
        of_backbone = str(trial.user_attrs.get(ORIGIN_ATTRIBUTE, "")).partition(": ")[2].partition(",")[0]
        return f"probe {trial.number}" + f" of {of_backbone}" * bool(of_backbone)
    return f"trial {trial.number} {teacher_under_way(trial) or f'epoch {_epoch(trial)}'}"


def _epoch(trial: FrozenTrial) -> str:
    """The epoch under way and the total; the last epoch stays while its predictions are made."""
    epoch, epochs = (trial.last_step or 0) + 1, trial.user_attrs.get(EPOCHS_ATTRIBUTE)
    return f"{epoch}/?" if epochs is None else f"{min(epoch, epochs)}/{epochs}"


def confirmation_name(item: HeldItem | TrialRecord) -> str:
    """A confirmation for people, such as ``trial 7 on split 1``."""
    kind = "probe" if item.note.get(OF_PROBE_NOTE) else "trial"
    return f"{kind} {item.note.get(TRIAL_NOTE, '?')} on split {item.split}"
