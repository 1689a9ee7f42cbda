"""Which trainings still fit before a study's deadline, by the training times in the database."""

from __future__ import annotations

from collections.abc import Sequence

from search.runtime.heartbeat import processes_present
from search.statistics.ranking import rank
from search.study_state.confirmation_schedule import finalist_count
from search.study_state.search_trials import candidates, search_records
from search.study_state.study import Study, read_study
from search.study_state.time_budget import (
    Costs,
    confirmations_in_time,
    is_time_for_trial,
    measure_costs,
    refits_in_time,
)
from search.study_state.training_costs import full_training_seconds
from storage.records.workers import Role
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TrialRecord, TrialStatus, WorkKind


def kinds_in_time(stores: Stores, study: Study, records: Sequence[TrialRecord] | None = None) -> tuple[bool, bool]:
    """Whether another trial, and whether another confirmation, could end early enough before the study's deadline.

    Args:
        records: all search trials of the study; None: read from the database.
    """
    if study.deadline is None:
        return True, True
    costs, now = read_costs(stores, study, records), stores.database.now()
    return (
        is_time_for_trial(costs, now=now, deadline=study.deadline),
        confirmations_in_time(costs, now=now, deadline=study.deadline) > 0,
    )


def refits_before_deadline(stores: Stores, study: Study) -> int | None:
    """Number of refits that would end before the study's deadline if they began now; None without a deadline.

    Each refit is one training: one recipe with one seed.
    """
    study = read_study(stores, study.name)
    if study.deadline is None:
        return None
    return refits_in_time(read_costs(stores, study), now=stores.database.now(), deadline=study.deadline)


def read_costs(stores: Stores, study: Study, records: Sequence[TrialRecord] | None = None) -> Costs:
    """Training times of a study and the trainings that are left, by the ended trainings and the live workers.

    Args:
        records: all search trials of the study; None: read from the database.
    """
    if records is None:
        records = search_records(stores, study.id)
    finalists = finalist_count(sum(record.counts for record in records), study.spec.confirm)
    ranking = [candidate.number for candidate in rank(candidates(records, study.metric))]
    exportable = {DEFAULT_TRIAL, *ranking[: max(1, finalists)]}
    # The age of running trials is used only until ended ones give a better estimate.
    running = not full_training_seconds(records) and any(i.kind is WorkKind.SEARCH for i in stores.queue.held(study.id))
    present = processes_present(stores.workers, study.id)
    homes = {process.home for process in present}
    return measure_costs(
        study.spec,
        records,
        [record for record in records if record.status is TrialStatus.FINISHED and record.number in exportable],
        stores.trials.records(study.id, kind=WorkKind.CONFIRM),
        workers=sum(process.role is Role.WORKER for process in present),
        kept=len(homes) == 1 and None not in homes,
        under_way=stores.database.now() - study.begun if running else 0.0,
    )
