"""Search items for probes: they come on top of the budget, one for each waiting probe, and can be discarded."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from storage.database.connection import Database, connect
from storage.errors import StorageError
from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue
from storage.records.enqueued_trials import EnqueuedRecord, EnqueuedTrialStore
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.values import PROBE_NOTE, Failure, StudyState
from tests.storage.samples import LEASE, PROCESSES, RECIPE, StandingClock, finished, take

PROBES = (4, 5)
"""Numbers of the probes."""


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


@pytest.fixture
def enqueued(database: Database) -> EnqueuedTrialStore:
    return EnqueuedTrialStore(database)


@pytest.fixture
def probing(make_study: Callable[..., StoredStudy], enqueued: EnqueuedTrialStore) -> StoredStudy:
    """A study with a budget of 0, whose trial 0 and two probes are enqueued."""
    study = make_study(budget=0)
    enqueue(enqueued, study)
    return study


def enqueue(enqueued: EnqueuedTrialStore, study: StoredStudy, probes: tuple[int, ...] = PROBES) -> None:
    enqueued.add(study.id, [EnqueuedRecord(number=0, params={}, attributes={"origin": "default: own"})])
    attributes = {PROBE_NOTE: True}
    enqueued.add(study.id, [EnqueuedRecord(number=number, params={}, attributes=attributes) for number in probes])


def begin(queue: WorkQueue, item: WorkItem, number: int) -> WorkItem:
    begun = queue.assign_trial(item, number, RECIPE, {PROBE_NOTE: True})
    assert begun is not None
    return begun


def test_a_budget_of_nothing_allows_as_many_items_as_probes_wait(queue: WorkQueue, probing: StoredStudy) -> None:
    assert queue.probes(probing.id) == (2, 2)
    assert take(queue, probing).id != take(queue, probing, "w2").id
    assert queue.take(probing.id, "w3", LEASE) is None
    assert not queue.may_begin(probing.id)
    assert probing.id not in queue.studies_with_work()


def test_probes_that_have_begun_failed_or_ended_wait_no_longer(queue: WorkQueue, probing: StoredStudy) -> None:
    first, second = take(queue, probing), take(queue, probing, "w2")
    assert queue.store(begin(queue, first, PROBES[0]), finished())
    assert queue.probes(probing.id) == (2, 1)
    assert queue.fail(begin(queue, second, PROBES[1]), Failure.WEIGHTS, "damaged")
    assert queue.probes(probing.id) == (2, 0)
    assert queue.take(probing.id, "w1", LEASE) is None


def test_cancelled_probes_wait_no_longer(queue: WorkQueue, enqueued: EnqueuedTrialStore, probing: StoredStudy) -> None:
    enqueued.remove(probing.id, PROBES)
    enqueued.remove(probing.id, [])
    assert queue.probes(probing.id) == (0, 0)
    assert queue.take(probing.id, "w1", LEASE) is None
    assert [record.number for record in enqueued.all(probing.id)] == [0]


def test_an_item_that_failed_before_its_trial_leaves_the_probe_to_the_next(
    queue: WorkQueue, probing: StoredStudy
) -> None:
    assert queue.fail(take(queue, probing), Failure.BUG, "before it had a trial")
    assert queue.probes(probing.id) == (2, 2)
    assert len({take(queue, probing).id for _ in PROBES}) == 2
    assert queue.take(probing.id, "w1", LEASE) is None


def test_a_released_item_without_a_trial_is_taken_again_and_no_other_is_created(
    queue: WorkQueue, clock: StandingClock, probing: StoredStudy
) -> None:
    items = [take(queue, probing), take(queue, probing, "w2")]
    assert queue.release(items[0])
    clock.forward(LEASE + 1.0)
    assert {take(queue, probing, "w3").id, take(queue, probing, "w4").id} == {item.id for item in items}
    assert queue.take(probing.id, "w5", LEASE) is None


def test_no_probe_begins_in_a_study_that_is_paused_stopped_or_late(
    queue: WorkQueue, database: Database, clock: StandingClock, probing: StoredStudy
) -> None:
    studies = StudyStore(database)
    for state in (StudyState.PAUSED, StudyState.STOPPED):
        studies.set_state(probing.id, state)
        assert queue.take(probing.id, "w1", LEASE) is None
    studies.set_state(probing.id, StudyState.RUNNING)
    studies.set_deadline(probing.id, clock.seconds + 10.0)
    assert queue.may_begin(probing.id)
    clock.forward(11.0)
    assert not queue.may_begin(probing.id)


def test_probes_come_on_top_of_a_budget(
    queue: WorkQueue, enqueued: EnqueuedTrialStore, make_study: Callable[..., StoredStudy]
) -> None:
    study = make_study(budget=1)
    enqueue(enqueued, study)
    items = [take(queue, study, f"w{place}") for place in range(2)]
    assert queue.take(study.id, "w9", LEASE) is None  # both may become probes, so one of them counts at the most
    for item, number in zip(items, PROBES, strict=True):
        begin(queue, item, number)
    assert queue.has_room(take(queue, study))
    assert queue.take(study.id, "w9", LEASE) is None


def test_an_item_has_room_if_the_others_leave_some(queue: WorkQueue, database: Database, study: StoredStudy) -> None:
    items = [take(queue, study) for _ in range(3)]
    assert all(queue.has_room(item) for item in items)
    StudyStore(database).set_budget(study.id, 2)
    assert not any(queue.has_room(item) for item in items)
    assert queue.discard(items[0])
    assert all(queue.has_room(item) for item in items[1:])
    StudyStore(database).set_budget(study.id, None)
    assert queue.has_room(items[1])


def test_only_a_held_item_with_the_known_trial_can_be_discarded(
    queue: WorkQueue, clock: StandingClock, study: StoredStudy
) -> None:
    taken = take(queue, study)
    begun = queue.assign_trial(taken, 0, RECIPE)
    assert begun is not None and not queue.discard(taken), "its trial is not known to this holder"
    lost = take(queue, study)
    clock.forward(LEASE + 1.0)
    queue.release(take(queue, study, "w2"))  # trial 0
    again = take(queue, study, "w3")
    assert again.id in (begun.id, lost.id)
    taken_over = lost if again.id == lost.id else begun
    assert not queue.discard(taken_over)
    open_item = take(queue, study, "w4")
    assert queue.discard(open_item)
    assert not queue.discard(open_item)
    assert open_item.id not in queue.states(study.id)
    given_up = queue.assign_trial(take(queue, study, "w5"), 7, RECIPE)
    assert given_up is not None and queue.discard(given_up)
    assert given_up.id not in queue.states(study.id)


def _take_and_begin(url: str, study_id: int, worker: str) -> list[int]:
    """Take items until there are none, and begin the first waiting probe or a trial with each; returns the probes."""
    database = connect(url)
    queue, begun = WorkQueue(database), []
    while (item := queue.take(study_id, worker, 3600.0)) is not None:
        for number in range(100, 112):
            if number in queue.assigned_trials(study_id):
                continue
            try:
                queue.assign_trial(item, number, {"epochs": 1}, {PROBE_NOTE: True})
            except StorageError:  # another process was first
                continue
            begun.append(number)
            break
        else:
            assert queue.has_room(item)
            queue.assign_trial(item, item.id, {"epochs": 1})
    database.close()
    return begun


@pytest.mark.slow
def test_eight_processes_begin_each_probe_once_and_keep_the_budget(
    url: str,
    queue: WorkQueue,
    enqueued: EnqueuedTrialStore,
    make_study: Callable[..., StoredStudy],
    processes: ProcessPoolExecutor,
) -> None:
    study = make_study(budget=3)
    enqueue(enqueued, study, tuple(range(100, 112)))
    futures = [processes.submit(_take_and_begin, url, study.id, f"w{n}") for n in range(PROCESSES)]
    begun = [number for future in futures for number in future.result(timeout=120)]
    assert sorted(begun) == list(range(100, 112))
    assert len(queue.assigned_trials(study.id)) == 12 + 3
