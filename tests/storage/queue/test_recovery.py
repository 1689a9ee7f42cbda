"""Recovery from dead workers: expired leases and orphaned trials."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.database.connection import Database
from storage.queue.recovery import WorkRecovery
from storage.queue.settle import MAX_LOST_WORKERS
from storage.queue.work_queue import WorkQueue
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.values import Failure, StudyState, TrialStatus, WorkKind, WorkState
from tests.storage.samples import LEASE, RECIPE, StandingClock, finished, take, take_assigned


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


@pytest.fixture
def recovery(database: Database) -> WorkRecovery:
    return WorkRecovery(database)


class TestSweeping:
    def test_each_due_study_is_claimed_once_per_interval(
        self, recovery: WorkRecovery, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        one, other = make_study("one"), make_study("other")
        assert recovery.claim_sweeps(30.0) == {one.id, other.id}
        clock.forward(29.0)
        assert recovery.claim_sweeps(30.0) == set()
        late = make_study("late")
        assert recovery.claim_sweeps(30.0) == {late.id}
        clock.forward(1.0)
        assert recovery.claim_sweeps(30.0) == {one.id, other.id}

    @pytest.mark.parametrize("state", list(StudyState))
    def test_items_with_expired_leases_are_queued_in_every_state_of_the_study(
        self,
        queue: WorkQueue,
        recovery: WorkRecovery,
        database: Database,
        clock: StandingClock,
        study: StoredStudy,
        state: StudyState,
    ) -> None:
        slow, alive = take_assigned(queue, study, 0), take_assigned(queue, study, 1)
        StudyStore(database).set_state(study.id, state)
        assert recovery.sweep(study.id) == 0
        clock.forward(LEASE)
        assert queue.renew(alive, LEASE)
        assert recovery.sweep(study.id) == 1
        counts = queue.counts(study.id)[WorkKind.SEARCH]
        assert (counts[WorkState.QUEUED], counts[WorkState.LEASED]) == (1, 1)
        assert not queue.store(slow, finished()), "the slow worker is fenced off"
        assert recovery.sweep(study.id) == 0

    def test_an_item_that_has_lost_too_many_workers_fails_without_a_take(
        self, queue: WorkQueue, recovery: WorkRecovery, database: Database, clock: StandingClock, study: StoredStudy
    ) -> None:
        for _ in range(MAX_LOST_WORKERS):
            item = take(queue, study)
            clock.forward(LEASE)
            recovery.sweep(study.id)
        record = TrialStore(database).record_of(item.id)
        assert record is not None
        assert (record.status, record.failure) == (TrialStatus.FAILED, Failure.LOST)

    def test_the_items_of_a_dead_worker_can_be_taken_at_once(
        self, queue: WorkQueue, recovery: WorkRecovery, study: StoredStudy
    ) -> None:
        held = take_assigned(queue, study, 0, "worker-1")
        other = take_assigned(queue, study, 1, "worker-12")
        assert recovery.expire_worker("worker-") == 0, "a name is matched as a whole"
        assert recovery.expire_worker("worker-1") == 1
        adopted = take(queue, study, "w2")
        assert (adopted.id, adopted.attempt) == (held.id, 2)
        assert queue.renew(other, LEASE)
        assert recovery.expire_worker("worker_12") == 0, "names are not LIKE patterns"


class TestOrphans:
    def test_a_trial_that_no_item_owns_is_an_orphan(
        self, queue: WorkQueue, recovery: WorkRecovery, clock: StandingClock, study: StoredStudy
    ) -> None:
        take_assigned(queue, study, 0)
        claim = take(queue, study, "w2")  # w2 creates trial 1 in Optuna and dies before it assigns it
        assert recovery.orphans(study.id, {0, 1}) == set(), "w2 may be about to assign trial 1"
        clock.forward(LEASE)
        assert recovery.orphans(study.id, {0, 1}) == {1}
        assert queue.assign_trial(claim, 1, RECIPE) is None, "w2 was only slow, but is fenced off"

    def test_the_item_of_the_slow_worker_is_queued(
        self, queue: WorkQueue, recovery: WorkRecovery, clock: StandingClock, study: StoredStudy
    ) -> None:
        claim = take(queue, study)
        clock.forward(LEASE)
        recovery.orphans(study.id, {5})
        assert take(queue, study, "w2").id == claim.id

    def test_without_running_trials_there_are_no_orphans(self, recovery: WorkRecovery, study: StoredStudy) -> None:
        assert recovery.orphans(study.id, set()) == set()
