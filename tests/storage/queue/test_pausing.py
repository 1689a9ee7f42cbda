"""Paused trials of the work queue: pausing, promoting and ending them, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import text, update

from storage.database.connection import Database
from storage.database.tables import Work
from storage.errors import DamagedRowError
from storage.queue.items import RungValues, WorkItem, rung_values_of
from storage.queue.recovery import WorkRecovery
from storage.queue.work_queue import WorkQueue
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.values import Failure, StudyState, TrialOutcome, TrialStatus, WorkKind, WorkState
from tests.storage.samples import LEASE, StandingClock, curve, take, take_assigned


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


def at_rung(item: WorkItem, epoch: int, value: float | None, home: str | None = "home-a") -> RungValues:
    assert item.trial_number is not None
    known = rung_values_of(item.id, item.trial_number, item.note)
    earlier = {} if known is None else known.values
    return RungValues(
        work_id=item.id,
        number=item.trial_number,
        epochs=12,
        values={**earlier, epoch: value},
        paused_after=epoch,
        home=home,
    )


def pruned(epochs: int = 1) -> TrialOutcome:
    return TrialOutcome(
        status=TrialStatus.PRUNED,
        value=0.5,
        epochs_done=epochs,
        seconds=1.0,
        curves=tuple(curve(epoch) for epoch in range(1, epochs + 1)),
    )


def pause(queue: WorkQueue, item: WorkItem, epoch: int = 1, value: float | None = 0.5) -> None:
    assert queue.pause(item, at_rung(item, epoch, value), pruned(epoch))


def best(trials: Sequence[RungValues]) -> int | None:
    return max((t.values[t.paused_after] or 0.0, t.work_id) for t in trials if t.paused_after is not None)[1]


def all_of(trials: Sequence[RungValues]) -> set[int]:
    return {trial.work_id for trial in trials}


def promote(queue: WorkQueue, study: StoredStudy, worker: str = "w2") -> WorkItem:
    item = queue.take(study.id, worker, LEASE, home="home-b", promote=best)
    assert item is not None
    return item


def test_a_paused_trial_waits_until_it_is_promoted(queue: WorkQueue, study: StoredStudy) -> None:
    items = [take_assigned(queue, study, number) for number in range(3)]
    for item, value in zip(items, (0.2, 0.4, 0.3), strict=True):
        pause(queue, item, value=value)
    assert queue.take(study.id, "w1", LEASE) is None, "the budget is used up, and no rule promotes"
    assert queue.count_paused(study.id) == 3
    assert queue.counts(study.id)[WorkKind.SEARCH] == dict.fromkeys(WorkState, 0)
    assert {t.number: (dict(t.values), t.paused_after, t.home) for t in queue.rung_values(study.id)} == {
        0: ({1: 0.2}, 1, "home-a"),
        1: ({1: 0.4}, 1, "home-a"),
        2: ({1: 0.3}, 1, "home-a"),
    }
    promoted = promote(queue, study)
    assert (promoted.trial_number, promoted.attempt, promoted.worker) == (1, 2, "w2")
    assert promoted.recipe == items[1].recipe
    assert queue.count_paused(study.id) == 2
    assert not queue.renew(items[1], LEASE), "the lease of the paused trial is over"


def test_the_record_of_a_paused_trial_is_hidden_and_goes_with_its_promotion(
    database: Database, queue: WorkQueue, study: StoredStudy
) -> None:
    trials = TrialStore(database)
    pause(queue, take_assigned(queue, study, 0))
    [record] = trials.paused(study.id)
    assert (record.status, record.number, record.epochs_done) == (TrialStatus.PRUNED, 0, 1)
    assert [c.epoch for c in trials.curves(record.id)] == [1]
    assert trials.records(study.id) == [] and trials.record_of(record.work_id) is None
    assert trials.count(study.id, WorkKind.SEARCH) == 0
    assert queue.unreported(study.id) == []
    again = promote(queue, study)
    assert trials.paused(study.id) == []
    pause(queue, again, epoch=3, value=0.7)
    assert [c.epoch for c in trials.curves(trials.paused(study.id)[0].id)] == [1, 2, 3]
    assert [dict(t.values) for t in queue.rung_values(study.id)] == [{1: 0.5, 3: 0.7}]


def test_trials_that_never_continue_end_as_pruned_once(
    database: Database, queue: WorkQueue, study: StoredStudy
) -> None:
    item = take_assigned(queue, study, 0)
    pause(queue, item)
    assert queue.end_paused(study.id, lambda trials: set()) == {}
    assert queue.end_paused(study.id, all_of) == {item.id: "home-a"}
    assert queue.end_paused(study.id, all_of) == {}
    [record] = TrialStore(database).records(study.id)
    assert record.status is TrialStatus.PRUNED
    assert [r.id for r in queue.unreported(study.id)] == [record.id]
    assert queue.counts(study.id)[WorkKind.SEARCH][WorkState.STORED] == 1
    assert [t.paused_after for t in queue.rung_values(study.id)] == [None], "it still counts at its rung"


def test_records_are_in_the_order_in_which_trials_ended(
    database: Database, queue: WorkQueue, study: StoredStudy, clock: StandingClock
) -> None:
    trials = TrialStore(database)
    first, second, third = (take_assigned(queue, study, number) for number in range(3))
    pause(queue, first)
    pause(queue, second)
    paused_at = trials.paused(study.id)[0].finished
    clock.forward(10.0)
    seen = []
    assert queue.store(third, pruned())
    seen.append([record.number for record in trials.records(study.id)])
    for item in (second, first):
        queue.end_paused(study.id, lambda trials, item=item: {item.id})  # type: ignore[misc]
        seen.append([record.number for record in trials.records(study.id)])
    assert seen == [[2], [2, 1], [2, 1, 0]], "the list of ended trials only grows"
    ended = trials.records(study.id)[-1]
    assert ended.finished == paused_at + 10.0
    assert [c.epoch for c in trials.curves(ended.id)] == [1]


def test_pausing_may_be_repeated_and_is_fenced(queue: WorkQueue, study: StoredStudy) -> None:
    item = take_assigned(queue, study, 0)
    reached = at_rung(item, 1, 0.5)
    assert queue.pause(item, reached, pruned()) and queue.pause(item, reached, pruned())
    promoted = promote(queue, study)
    assert not queue.pause(item, reached, pruned()), "another worker has the trial"
    assert not queue.pass_rung(item, reached)
    assert queue.pass_rung(promoted, at_rung(promoted, 3, None))
    assert [dict(t.values) for t in queue.rung_values(study.id)] == [{1: 0.5, 3: None}]


def test_a_promoted_trial_of_a_dead_worker_is_adopted_from_any_home(
    database: Database, queue: WorkQueue, study: StoredStudy, clock: StandingClock
) -> None:
    pause(queue, take_assigned(queue, study, 0))
    promote(queue, study)
    clock.forward(2 * LEASE)
    assert WorkRecovery(database).sweep(study.id) == 1
    adopted = queue.take(study.id, "w3", LEASE, home="home-c")
    assert adopted is not None and (adopted.trial_number, adopted.attempt) == (0, 3)
    assert [dict(t.values) for t in queue.rung_values(study.id)] == [{1: 0.5}], "the rung stays passed"


def test_a_paused_trial_is_no_orphan_and_survives_a_sweep(
    database: Database, queue: WorkQueue, study: StoredStudy, clock: StandingClock
) -> None:
    pause(queue, take_assigned(queue, study, 0))
    clock.forward(1000 * LEASE)
    recovery = WorkRecovery(database)
    assert recovery.sweep(study.id) == 0 and recovery.expire_worker("w1") == 0
    assert recovery.orphans(study.id, [0]) == set()
    assert queue.count_paused(study.id) == 1


@pytest.mark.parametrize("state", [StudyState.PAUSED, StudyState.STOPPED])
def test_a_study_that_does_not_run_promotes_nothing(
    database: Database, queue: WorkQueue, study: StoredStudy, state: StudyState
) -> None:
    pause(queue, take_assigned(queue, study, 0))
    StudyStore(database).set_state(study.id, state)
    assert queue.take(study.id, "w1", LEASE, promote=best) is None
    assert queue.studies_with_work() == []
    StudyStore(database).set_state(study.id, StudyState.RUNNING)
    assert promote(queue, study).trial_number == 0


def test_after_the_deadline_nothing_is_promoted(
    queue: WorkQueue, make_study: Callable[..., StoredStudy], clock: StandingClock
) -> None:
    study = make_study(budget=None, deadline=clock.seconds + 50.0)
    pause(queue, take_assigned(queue, study, 0))
    clock.forward(50.0)
    assert queue.take(study.id, "w1", LEASE, promote=best) is None


def test_promotion_comes_before_a_new_trial_and_after_a_waiting_one(queue: WorkQueue, study: StoredStudy) -> None:
    first, second = take_assigned(queue, study, 0), take_assigned(queue, study, 1)
    pause(queue, first)
    queue.release(second)
    assert [promote(queue, study).trial_number for _ in range(2)] == [1, 0]
    assert take(queue, study).trial_number is None, "the third of the budget"


def test_failed_trials_do_not_count_at_a_rung(queue: WorkQueue, study: StoredStudy) -> None:
    pause(queue, take_assigned(queue, study, 0))
    assert queue.fail(promote(queue, study), Failure.BUG, "broken")
    assert queue.rung_values(study.id) == []


@pytest.mark.parametrize(
    "rungs", [7, {}, {"epochs": 12}, {"epochs": "x", "values": {}}, {"epochs": 3, "values": {"a": 1.0}}]
)
def test_a_damaged_note_is_refused(database: Database, queue: WorkQueue, study: StoredStudy, rungs: object) -> None:
    item = take_assigned(queue, study, 0)
    with database.writing() as connection:
        connection.execute(update(Work).where(Work.id == item.id).values(note={"rungs": rungs}))
    with pytest.raises(DamagedRowError, match="the database is damaged"):
        queue.rung_values(study.id)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_damaged_kinds_are_not_counted(database: Database, queue: WorkQueue, study: StoredStudy) -> None:
    item = take_assigned(queue, study, 0)
    with database.writing() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = 1"))
        connection.execute(update(Work).where(Work.id == item.id).values(kind="nonsense"))
    with pytest.raises(DamagedRowError, match=rf"in retable_work, row {item.id}, kind is 'nonsense'"):
        queue.counts(study.id)


def test_a_note_keeps_its_other_entries(queue: WorkQueue, study: StoredStudy) -> None:
    item = take(queue, study)
    assigned = queue.assign_trial(item, 0, {"epochs": 12}, {"probe": True})
    assert assigned is not None
    assert queue.assign_trial(assigned, 0, {"epochs": 12}, {"probe": True, "later": 1}) is not None
    assert queue.pass_rung(assigned, replace(at_rung(assigned, 1, 0.5), paused_after=None))
    queue.release(assigned)
    assert take(queue, study).note == {"probe": True, "later": 1, "rungs": {"epochs": 12, "values": {"1": 0.5}}}
