"""What dead workers leave behind is found by whoever looks, whether or not anybody begins something new."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.database.connection import Database
from storage.queue.items import WorkItem
from storage.queue.recovery import WorkRecovery
from storage.queue.work_queue import MAX_ATTEMPTS, WorkQueue
from storage.records.studies import StoredStudy, StudyStore
from storage.records.trials import TrialStore
from storage.values import Failure, StudyState, TrialStatus, WorkKind, WorkState
from tests.storage.samples import StandingClock, finished

LEASE = 100.0  # seconds
RECIPE = {"backbone": "resnet10t", "epochs": 3}


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


@pytest.fixture
def recovery(database: Database) -> WorkRecovery:
    return WorkRecovery(database)


def take(queue: WorkQueue, study: StoredStudy, worker: str = "w1") -> WorkItem:
    item = queue.take(study.id, worker, LEASE)
    assert item is not None
    return item


def take_named(queue: WorkQueue, study: StoredStudy, number: int, worker: str = "w1") -> WorkItem:
    item = queue.assign_trial(take(queue, study, worker), number, RECIPE)
    assert item is not None
    return item


class TestSweeping:
    def test_one_of_many_looks_after_a_study_at_a_time(
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
    def test_expired_leases_are_put_back_whatever_the_state_of_the_study(
        self,
        queue: WorkQueue,
        recovery: WorkRecovery,
        database: Database,
        clock: StandingClock,
        study: StoredStudy,
        state: StudyState,
    ) -> None:
        slow, alive = take_named(queue, study, 0), take_named(queue, study, 1)
        StudyStore(database).set_state(study.id, state)
        assert recovery.sweep(study.id) == 0
        clock.forward(LEASE)
        assert queue.renew(alive, LEASE)
        assert recovery.sweep(study.id) == 1
        counts = queue.counts(study.id)[WorkKind.SEARCH]
        assert (counts[WorkState.QUEUED], counts[WorkState.LEASED]) == (1, 1)
        assert not queue.store(slow, finished()), "it comes back too late, and learns it"
        assert recovery.sweep(study.id) == 0

    def test_an_item_that_keeps_losing_its_workers_fails_though_nobody_takes_it(
        self, queue: WorkQueue, recovery: WorkRecovery, database: Database, clock: StandingClock, study: StoredStudy
    ) -> None:
        for _ in range(MAX_ATTEMPTS):
            item = take(queue, study)
            clock.forward(LEASE)
            recovery.sweep(study.id)
        record = TrialStore(database).record_of(item.id)
        assert record is not None
        assert (record.status, record.failure) == (TrialStatus.FAILED, Failure.LOST)

    def test_a_worker_known_to_be_dead_keeps_nobody_waiting(
        self, queue: WorkQueue, recovery: WorkRecovery, study: StoredStudy
    ) -> None:
        held = take_named(queue, study, 0, "host-12-abc")
        other = take_named(queue, study, 1, "host-123-abc")
        assert recovery.expire_worker("host-12-") == 1
        adopted = take(queue, study, "w2")
        assert (adopted.id, adopted.attempt) == (held.id, 2)
        assert queue.renew(other, LEASE)
        assert recovery.expire_worker("host_123-") == 0, "names are no patterns"


class TestOrphans:
    def test_a_trial_that_no_item_names_is_an_orphan(
        self, queue: WorkQueue, recovery: WorkRecovery, clock: StandingClock, study: StoredStudy
    ) -> None:
        take_named(queue, study, 0)
        claim = take(queue, study, "w2")  # w2 asks Optuna, gets trial 1, and dies before it can say so
        assert recovery.orphans(study.id, {0, 1}) == set(), "w2 may be about to name trial 1"
        clock.forward(LEASE)
        assert recovery.orphans(study.id, {0, 1}) == {1}
        assert queue.assign_trial(claim, 1, RECIPE) is None, "w2 was only slow, but trial 1 is given up"

    def test_the_claim_itself_is_not_lost(
        self, queue: WorkQueue, recovery: WorkRecovery, clock: StandingClock, study: StoredStudy
    ) -> None:
        claim = take(queue, study)
        clock.forward(LEASE)
        recovery.orphans(study.id, {5})
        assert take(queue, study, "w2").id == claim.id

    def test_nothing_running_nothing_to_find(self, recovery: WorkRecovery, study: StoredStudy) -> None:
        assert recovery.orphans(study.id, set()) == set()
