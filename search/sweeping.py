"""Looking for what dead workers left behind. Idle workers and whoever waits for a study do it now and then."""

from __future__ import annotations

import logging

import optuna
from optuna.trial import TrialState

from search.ledger import Ledger
from search.patience import patiently
from search.telling import tell_all
from storage.optuna_storage import running_trials
from storage.stored_studies import StoredStudy
from storage.values import StudyState

SWEEP_INTERVAL = 30.0  # seconds

log = logging.getLogger(__name__)


def sweep(ledger: Ledger, stored: StoredStudy) -> None:
    """Put a study in order: outcomes that Optuna was not told, leases that ran out, trials that nobody will ever run.

    Any number of processes may do it at once, beside any work.
    """
    name, study_id = stored.name, stored.id
    patiently(lambda: ledger.recovery.sweep(study_id))
    if patiently(lambda: ledger.queue.untold(study_id)):
        tell_all(ledger.queue, study_id, patiently(lambda: ledger.optuna_study(name)))
    orphans = patiently(lambda: ledger.recovery.orphans(study_id, running_trials(ledger.database, name)))
    # While trials may begin, the next one to begin takes an orphan on; while paused, it waits.
    if not orphans or patiently(lambda: ledger.queue.may_begin(study_id)):
        return
    if patiently(lambda: ledger.studies.state(study_id)) is StudyState.PAUSED:
        return
    study = patiently(lambda: ledger.optuna_study(name))
    for number in orphans:
        log.info("trial %d was asked for by a worker that died; nobody will run it", number)
        patiently(lambda: _end(study, number))  # noqa: B023 - called before the next turn


def _end(study: optuna.Study, number: int) -> None:
    study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
