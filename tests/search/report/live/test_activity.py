"""What each worker does at the moment, and how fast."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from search.report.live.activity import ActivityReader, read_workers
from search.report.live.schedule import seconds_to_end
from search.runtime.heartbeat import Heartbeat
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, TEACHERS_ATTRIBUTE
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.study import Study
from search.tuning.suggest import sample
from search.worker.study_context import StudyContext
from storage.stores import Stores
from storage.values import PROBE_NOTE, TrialStatus, WorkKind
from tests.search.end_trials import end_next
from tests.search.small_study import COLOURS, PER_CLASS, work_on

IMAGES = PER_CLASS * len(COLOURS)  # two folds: each image is trained on once an epoch


def of_workers(stores: Stores, name: str = "colours") -> dict[str, str]:
    return {worker.name: worker.doing for worker in read_workers(stores, read_snapshot(stores, name))}


def test_workers_from_idle_to_a_trial(context: StudyContext, stores: Stores, stored: Study) -> None:
    with (
        Heartbeat(stores.workers, "a", device="cpu", home="h", study_id=stored.id),
        Heartbeat(stores.workers, "b", device="cuda:0", home="h"),
    ):
        assert of_workers(stores) == {"a": "idle", "b": "idle"}
        item = stores.queue.take(stored.id, "a", 60.0)
        assert item is not None
        assert of_workers(stores) == {"a": "asking for a trial", "b": "idle"}
        trial = context.optuna_study.ask()
        assert stores.queue.assign_trial(item, trial.number, sample(trial, stored.spec).to_flat()) is not None
        trial.set_user_attr(EPOCHS_ATTRIBUTE, 3)
        assert of_workers(stores)["a"] == "trial 0 epoch 1/3"
        for done, step in ((0, "teacher 1/10"), (9, "teacher 10/10"), (10, "epoch 1/3")):
            trial.set_user_attr(TEACHERS_ATTRIBUTE, [done, 10])
            assert of_workers(stores)["a"] == f"trial 0 {step}"
        for damaged in ([3], "no", [-1, 10], [None, 10]):
            trial.set_user_attr(TEACHERS_ATTRIBUTE, damaged)
            assert of_workers(stores)["a"] == "trial 0 epoch 1/3"
        trial.report(0.25, 1)
        trial.report(0.5, 2)
        (worker, _) = read_workers(stores, read_snapshot(stores, "colours"))
        assert (worker.doing, worker.epochs, worker.scores) == ("trial 0 epoch 3/3", 3, (0.25, 0.5))
        assert worker.images_per_second is None, "only a reader that looks twice knows it"
    assert of_workers(stores) == {}


def test_a_confirmation_and_a_refit(stores: Stores, stored: Study) -> None:
    recipe = stored.spec.default_recipe()
    stores.queue.add(stored.id, WorkKind.CONFIRM, split=1, seed=0, recipe=recipe, note={"trial": 7})
    stores.queue.add(stored.id, WorkKind.REFIT, split=0, seed=0, recipe=recipe)
    with Heartbeat(stores.workers, "a", device="cpu", home="h", study_id=stored.id):
        for kind, text in ((WorkKind.CONFIRM, "confirming trial 7 on split 1"), (WorkKind.REFIT, "a refit")):
            item = stores.queue.take(stored.id, "a", 60.0, kinds=(kind,))
            assert item is not None
            assert of_workers(stores) == {"a": text}
            stores.queue.release(item)


def test_the_speed_of_a_worker(context: StudyContext, stores: Stores, stored: Study) -> None:
    now = 100.0
    reader = ActivityReader(stores, monotonic=lambda: now)

    def speed() -> float | None:
        return reader.read(read_snapshot(stores, "colours")).workers[0].images_per_second

    with Heartbeat(stores.workers, "test", device="cpu", home="h", study_id=stored.id):
        end_next(stores, stored, 0.5)  # stored without a training time, as an instant one
        item = stores.queue.take(stored.id, "test", 60.0)
        assert item is not None
        trial = context.optuna_study.ask()
        assert stores.queue.assign_trial(item, trial.number, sample(trial, stored.spec).to_flat()) is not None
        trial.set_user_attr(EPOCHS_ATTRIBUTE, 9)
        assert speed() is None
        trial.report(0.5, 1)
        now += 50.0
        assert speed() is None, "the first epoch begins with the networks"
        trial.report(0.5, 2)
        now += 10.0
        assert speed() == pytest.approx(IMAGES / 10.0)
        now += 5.0
        assert speed() == pytest.approx(IMAGES / 10.0), "no further epoch has ended"
        for epoch in (3, 4):
            trial.report(0.5, epoch)
        assert speed() == pytest.approx(2 * IMAGES / 5.0)


def test_before_the_second_epoch_the_speed_is_that_of_the_last_training(stores: Stores, stored: Study) -> None:
    end_next(stores, stored, 0.5)
    snapshot = read_snapshot(stores, "colours")
    (record,) = snapshot.records
    trained = replace(record, worker="a", seconds=6.0, epochs_done=3)
    item = stores.queue.take(stored.id, "a", 60.0)
    assert item is not None
    study = stores.optuna_study("colours")
    trial = study.ask()
    assert stores.queue.assign_trial(item, trial.number, sample(trial, stored.spec).to_flat()) is not None
    trial.set_user_attr(EPOCHS_ATTRIBUTE, 9)
    with Heartbeat(stores.workers, "a", device="cpu", home="h", study_id=stored.id):
        reader = ActivityReader(stores)
        (worker,) = reader.read(with_trials(snapshot, trained)).workers
        assert worker.images_per_second == pytest.approx(3 * IMAGES / 6.0)
        (worker,) = reader.read(with_trials(snapshot, replace(trained, worker="b"))).workers
        assert worker.images_per_second is None


def with_trials(snapshot: StudySnapshot, *trials: object) -> StudySnapshot:
    return replace(snapshot, ended=replace(snapshot.ended, trials=trials))


@pytest.mark.slow
def test_the_curve_of_the_leader_is_that_of_its_epochs(context: StudyContext, stores: Stores) -> None:
    reader = ActivityReader(stores)
    assert reader.read(read_snapshot(stores, "colours")).leader_scores == ()
    work_on(context)
    snapshot = read_snapshot(stores, "colours")
    leader = next(r for r in snapshot.records if r.number == snapshot.ranking[0].number)
    scores = reader.read(snapshot).leader_scores
    assert len(scores) == leader.epochs_done == 3
    assert scores[-1] == pytest.approx(leader.mean_true_probability)


def test_the_time_to_the_end_of_the_export(stores: Stores, stored: Study) -> None:
    def seconds(**changes: object) -> float | None:
        return seconds_to_end(stores, replace(read_snapshot(stores, "colours"), **changes))  # type: ignore[arg-type]

    stores.studies.set_budget(stored.id, 12)
    assert seconds(workers=1) is None, "nothing is known of the trainings"
    for _ in range(2):
        end_next(stores, stored, 0.5)
    base = read_snapshot(stores, "colours")
    slow = replace(base.ended, trials=tuple(replace(record, seconds=60.0) for record in base.records))
    assert seconds(ended=slow) is None, "no worker runs"
    one = seconds(ended=slow, workers=1)
    assert one is not None and one > 600.0, "ten trials, confirmation, final trainings, export"
    assert seconds(ended=slow, workers=1, seconds_to_deadline=None) == pytest.approx(one, abs=1.0)
    refits = seconds(ended=slow, workers=1, refits_open=3)
    assert refits is not None and 180.0 <= refits < one
    half = replace(slow, trials=(*slow.trials, *slow.trials))
    assert (seconds(ended=half, workers=1) or math.inf) < one


def test_an_estimate_is_counted_down_until_a_training_ends(stores: Stores, stored: Study) -> None:
    now, estimate = 0.0, 100.0
    reader = ActivityReader(stores, seconds_to_end=lambda _: estimate, monotonic=lambda: now)

    def seconds() -> float | None:
        return reader.read(read_snapshot(stores, "colours")).seconds_to_end

    assert seconds() == 100.0
    now += 30.0
    assert seconds() == 70.0
    estimate = 90.0
    assert seconds() == 90.0
    now += 95.0
    assert seconds() == 0.0


def test_an_end_after_the_deadline_is_the_deadline(stores: Stores, stored: Study) -> None:
    stores.studies.set_deadline(stored.id, stores.database.now() + 90.0, period_began=stores.database.now())
    with Heartbeat(stores.workers, "a", device="cpu", home="h", study_id=stored.id):
        assert 80.0 < (seconds_to_end(stores, read_snapshot(stores, "colours")) or 0.0) <= 90.0
        end_next(stores, stored, 0.5, TrialStatus.FINISHED)
        assert 0.0 < (seconds_to_end(stores, read_snapshot(stores, "colours")) or 0.0) <= 90.0


def test_the_time_of_work_without_epochs(stores: Stores, stored: Study) -> None:
    now = 100.0
    reader = ActivityReader(stores, monotonic=lambda: now)

    def seconds() -> float | None:
        return reader.read(read_snapshot(stores, "colours")).workers[0].seconds

    recipe = stored.spec.default_recipe()
    with Heartbeat(stores.workers, "a", device="cpu", home="h", study_id=stored.id):
        for number in (0, 1):
            assert seconds() is None, "it is idle"
            item = stores.queue.take(stored.id, "a", 60.0)
            assert item is not None
            item = stores.queue.assign_trial(item, number, recipe, {PROBE_NOTE: True})
            assert item is not None
            assert seconds() == 0.0
            now += 30.0
            assert seconds() == 30.0
            stores.queue.discard(item)
        item = stores.queue.take(stored.id, "a", 60.0)
        assert item is not None and stores.queue.assign_trial(item, 2, recipe) is not None
        assert seconds() is None, "the epochs of a trial show that it moves"
