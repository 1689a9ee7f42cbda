"""Queries on the work queue: studies with work, waiting items and held items."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.database.connection import Database
from storage.queue.work_queue import WorkQueue
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.values import StudyState, WorkKind, WorkState
from tests.storage.samples import LEASE, RECIPE, StandingClock, take, take_assigned


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


class TestStudiesWithWork:
    """Which studies a worker of all studies tries, and in which order."""

    def test_studies_without_work_are_not_listed(
        self, queue: WorkQueue, database: Database, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        one, other = make_study("one", budget=1), make_study("other", budget=1)
        store = StudyStore(database)
        assert queue.studies_with_work() == [one.id, other.id]
        item = take(queue, one)
        assert queue.studies_with_work() == [other.id] and not queue.may_begin(one.id)
        clock.forward(LEASE)
        assert one.id in queue.studies_with_work(), "the lease has run out"
        assert queue.renew(item, LEASE)
        store.set_budget(one.id, 2)
        assert one.id in queue.studies_with_work() and queue.may_begin(one.id)
        store.set_deadline(one.id, clock.seconds)
        assert queue.studies_with_work() == [other.id] and not queue.may_begin(one.id)
        store.set_state(other.id, StudyState.PAUSED)
        assert queue.studies_with_work() == [] and not queue.may_begin(other.id)

    def test_a_stopped_study_is_listed_for_refits_alone(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        queue.release(take(queue, study))
        StudyStore(database).set_state(study.id, StudyState.STOPPED)
        assert queue.studies_with_work() == []
        queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE, home="here")
        assert queue.studies_with_work(home="elsewhere") == []
        assert queue.studies_with_work(home="here") == [study.id]

    def test_priority_first_then_the_study_with_fewer_workers_then_the_longest_wait(
        self, queue: WorkQueue, database: Database, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        a, b, urgent = (make_study(name, budget=50) for name in ("a", "b", "urgent"))
        StudyStore(database).set_priority(urgent.id, 5)
        assert queue.studies_with_work()[0] == urgent.id
        StudyStore(database).set_state(urgent.id, StudyState.PAUSED)
        served = []
        for _ in range(20):  # twenty workers come one after another
            clock.forward(1)
            item = queue.take(queue.studies_with_work()[0], "w", LEASE)
            assert item is not None
            served.append(item.study_id)
        assert served.count(a.id) == served.count(b.id) == 10
        for _ in range(6):  # one worker alone, back after each trial
            clock.forward(LEASE)
            first = queue.studies_with_work()[0]
            clock.forward(1)
            item = queue.take(first, "w", 0.5)
            assert item is not None
            served.append(item.study_id)
        assert served[-6:].count(a.id) == 3


class TestReading:
    def test_held_items_name_their_worker_until_the_lease_runs_out(
        self, queue: WorkQueue, clock: StandingClock, study: StoredStudy
    ) -> None:
        dead = take_assigned(queue, study, 0, "w1")
        clock.forward(LEASE)
        held = take(queue, study, "w2")
        assert held.id == dead.id
        other = take(queue, study, "w3")
        assert [(h.id, h.trial_number, h.worker) for h in queue.held(study.id)] == [
            (held.id, 0, "w2"),
            (other.id, None, "w3"),
        ]
        assert queue.states(study.id) == {held.id: WorkState.LEASED, other.id: WorkState.LEASED}
        clock.forward(LEASE)
        assert queue.held(study.id) == []
        counts = queue.counts(study.id)[WorkKind.SEARCH]
        assert (counts[WorkState.LEASED], counts[WorkState.QUEUED]) == (0, 2), "both leases have run out"

    def test_an_item_is_either_waiting_or_held(
        self, queue: WorkQueue, clock: StandingClock, study: StoredStudy
    ) -> None:
        ids = [
            queue.add(study.id, WorkKind.CONFIRM, split=split, seed=split, recipe=RECIPE, note={"trial": 7})
            for split in (1, 2)
        ]
        queue.add(study.id, WorkKind.REFIT, split=0, seed=0, recipe=RECIPE)
        item = take(queue, study)
        (waiting,) = queue.waiting(study.id, WorkKind.CONFIRM)
        assert (waiting.id, waiting.split, waiting.recipe, waiting.note) == (ids[1], 2, RECIPE, {"trial": 7})
        assert [(h.id, h.split, h.note) for h in queue.held(study.id)] == [(item.id, 1, {"trial": 7})]
        clock.forward(LEASE)
        assert [w.id for w in queue.waiting(study.id, WorkKind.CONFIRM)] == ids, "the lease has run out"
        assert queue.waiting(study.id, WorkKind.SEARCH) == []
