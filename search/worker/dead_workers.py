"""Recovery of the work of dead workers. Workers and supervisors call it every `SWEEP_INTERVAL` seconds."""

from __future__ import annotations

import logging
from contextlib import suppress

import optuna
from optuna.trial import TrialState

from search.runtime.process_names import is_dead, short_name
from search.tuning.report_to_optuna import report_to_optuna
from search.tuning.restore_optuna import ForeignOptunaStudy, restore_if_gone
from storage.optuna_storage.optuna_rows import running_trials
from storage.records.study_rows import StoredStudy
from storage.records.workers import SEEN_WITHIN
from storage.stores import Stores
from storage.values import StudyState, TrialStatus, WorkKind
from studies.errors import StudyError
from trainer.inference.printable import excerpt

SWEEP_INTERVAL = 30.0  # seconds
MAX_FAILURES = 5  # failed trials in a row after which a study stops: the cause is not the recipe

log = logging.getLogger(__name__)


def sweep_all(stores: Stores) -> None:
    """Free the work of dead processes of this host. Then `sweep` the studies that are due.

    A study is due if no process has swept it for `SWEEP_INTERVAL`.
    """
    for process in stores.workers.alive(SEEN_WITHIN):
        if is_dead(process.name):
            expire_worker(stores, process.name)
    due = stores.recovery.claim_sweeps(SWEEP_INTERVAL)
    for study in stores.studies.all() if due else []:
        if study.id in due:
            sweep(stores, study)


def expire_worker(stores: Stores, name: str) -> None:
    """Return the work of a worker that is certainly dead to the queue at once; other leases have to run out.

    Args:
        name: exactly that of the worker.
    """
    if stores.recovery.expire_worker(name):
        log.info("worker %s is dead; the next worker continues its work", short_name(name))
    stores.workers.remove(name)


def orphaned_trials(stores: Stores, study: StoredStudy) -> set[int]:
    """Numbers of running Optuna trials that no work item owns. The next search item takes one of them."""
    return stores.recovery.orphans(study.id, running_trials(stores.database, study.name))


def sweep(stores: Stores, stored: StoredStudy) -> None:
    """Recover the work of dead workers in one study.

    First the study is restored in Optuna if it is gone. Items with an expired lease are released, outcomes that Optuna
    lacks are reported, and orphaned trials that can never run are ended as failed. Several processes may sweep the same
    study at the same time, while workers run.
    """
    name, study_id = stored.name, stored.id
    try:
        restore_if_gone(stores, stored)
    except (ForeignOptunaStudy, StudyError) as problem:
        log.warning("study %s is not swept: %s", name, problem)
        return
    if stores.recovery.sweep(study_id):
        stop_after_failures(stores, study_id)
    if stores.queue.unreported(study_id):
        report_to_optuna(stores, study_id, stores.optuna_study(name))
    orphans = orphaned_trials(stores, stored)
    # While an item may take a trial, it takes an orphan; while the study is paused, orphans wait.
    if not orphans or stores.queue.may_assign(study_id):
        return
    if stores.studies.state(study_id) is StudyState.PAUSED:
        return
    study = stores.optuna_study(name)
    for number in orphans:
        log.info("trial %d ends as failed: its worker died before it began, and no trial may begin any more", number)
        _fail(study, number)


def stop_after_failures(stores: Stores, study_id: int) -> None:
    """Stop a study after `MAX_FAILURES` failures in a row since it was last started or resumed."""
    failures = stores.trials.consecutive_failures(study_id)
    if failures >= MAX_FAILURES:
        kind, failed = WorkKind.SEARCH, TrialStatus.FAILED
        last = stores.trials.records(study_id, kind=kind, status=failed)[-1]
        reason = f"{failures} trials in a row failed, the last one with: {excerpt(last.reason)}"
        stores.studies.set_state(study_id, StudyState.STOPPED, reason)


def _fail(study: optuna.Study, number: int) -> None:
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process did it first
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
