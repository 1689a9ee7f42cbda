"""Enqueued trials, recorded once, and the numbers of the trials that have begun."""

from __future__ import annotations

import pytest

from storage.database.connection import Database
from storage.errors import StorageError
from storage.queue.work_queue import WorkQueue
from storage.records.enqueued_trials import EnqueuedRecord, EnqueuedTrialStore
from storage.records.study_rows import StoredStudy


def record(number: int, lr: float = 0.1) -> EnqueuedRecord:
    return EnqueuedRecord(number=number, params={"lr": lr, "on": True}, attributes={"origin": f"by hand: {number}"})


def test_trials_are_recorded_once_and_read_by_number(database: Database, study: StoredStudy) -> None:
    store = EnqueuedTrialStore(database)
    store.add(study.id, [])
    store.add(study.id, [record(4), record(0)])
    store.add(study.id, [record(0, lr=0.9), record(2)])
    assert store.all(study.id) == [record(0), record(2), record(4)], "the first record of a number stays"
    assert store.all(study.id + 1) == []


def test_a_trial_belongs_to_a_stored_study(database: Database) -> None:
    with pytest.raises(StorageError):
        EnqueuedTrialStore(database).add(99, [record(0)])
    assert EnqueuedTrialStore(database).all(99) == []


def test_trials_that_have_begun_are_listed_with_their_recipes(database: Database, study: StoredStudy) -> None:
    queue = WorkQueue(database)
    assert (queue.trials_begun(study.id), queue.assigned_trials(study.id)) == (0, {})
    for number in (3, 1):
        item = queue.take(study.id, f"worker {number}", 60.0)
        assert item is not None
        assert queue.assign_trial(item, number, {"lr": number / 10})
    assert queue.take(study.id, "worker", 60.0) is not None, "a trial without a number yet"
    assert queue.trials_begun(study.id) == 4
    assert queue.assigned_trials(study.id) == {1: {"lr": 0.1}, 3: {"lr": 0.3}}
