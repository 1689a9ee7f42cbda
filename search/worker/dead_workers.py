"""Looking for what dead workers left behind. Idle workers and whoever waits for a study do it now and then."""

from __future__ import annotations

import logging
from contextlib import suppress

import optuna
from optuna.trial import TrialState

from search.tuning.report_to_optuna import report_to_optuna
from storage.optuna_storage import running_trials
from storage.records.studies import StoredStudy
from storage.stores import Stores
from storage.values import StudyState, TrialStatus, WorkKind

SWEEP_INTERVAL = 30.0  # seconds
MAX_FAILURES = 5  # failed trials in a row after which a study stops: something is wrong that no recipe can mend

log = logging.getLogger(__name__)


def sweep_all(stores: Stores) -> None:
    """`sweep` every study that nobody has swept for `SWEEP_INTERVAL`."""
    due = stores.recovery.claim_sweeps(SWEEP_INTERVAL)
    for study in stores.studies.all() if due else []:
        if study.id in due:
            sweep(stores, study)


def orphans_of(stores: Stores, study: StoredStudy) -> set[int]:
    """Optuna's trials that nobody works on, for the next that begins to take on instead of asking for a new one."""
    return stores.recovery.orphans(study.id, running_trials(stores.database, study.name))


def sweep(stores: Stores, stored: StoredStudy) -> None:
    """Put a study in order: outcomes that Optuna was not told, leases that ran out, trials that nobody will ever run.

    Any number of processes may do it at once, beside any work.
    """
    name, study_id = stored.name, stored.id
    if stores.recovery.sweep(study_id):
        stop_after_failures(stores, study_id)
    if stores.queue.unreported(study_id):
        report_to_optuna(stores, study_id, stores.optuna_study(name))
    orphans = orphans_of(stores, stored)
    # While trials may begin, the next one to begin takes an orphan on; while paused, it waits.
    if not orphans or stores.queue.may_begin(study_id):
        return
    if stores.studies.state(study_id) is StudyState.PAUSED:
        return
    study = stores.optuna_study(name)
    for number in orphans:
        log.info("trial %d was asked for by a worker that died; nobody will run it", number)
        _end(study, number)


def stop_after_failures(stores: Stores, study_id: int) -> None:
    """Stop a study after `MAX_FAILURES` failures in a row since a person last set it going."""
    failures = stores.trials.consecutive_failures(study_id)
    if failures >= MAX_FAILURES:
        kind, failed = WorkKind.SEARCH, TrialStatus.FAILED
        last = stores.trials.records(study_id, kind=kind, status=failed)[-1]
        reason = f"{failures} trials in a row failed, the last one with: {last.reason}"
        stores.studies.set_state(study_id, StudyState.STOPPED, reason)


def _end(study: optuna.Study, number: int) -> None:
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was faster
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
