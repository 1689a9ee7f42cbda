"""Stores of studies, trials, exports and workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.database.connection import Database
from storage.errors import StorageError, StudyExistsError, UnknownStudyError
from storage.queue.work_queue import WorkQueue
from storage.records.exports import ExportStore
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.records.workers import FORGET_AFTER, Role, WorkerStore
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.storage.samples import StandingClock, finished


class TestStudies:
    def test_a_study_comes_back_as_it_was(self, database: Database, study: StoredStudy, clock: StandingClock) -> None:
        assert StudyStore(database).get("tune") == study
        assert (study.spec, study.file_spec) == ({"space": {"optimizer.lr": {"low": 1e-5}}}, {"space": {}})
        assert study.overrides == ("recipe.epochs=2",)
        assert (study.budget, study.state, study.created) == (3, StudyState.RUNNING, clock.seconds)

    def test_names_are_unique(self, make_study: Callable[..., StoredStudy]) -> None:
        make_study("one")
        with pytest.raises(StudyExistsError, match="'one'"):
            make_study("one")

    def test_the_error_for_an_unknown_name_lists_the_stored_names(
        self, database: Database, make_study: Callable[..., StoredStudy]
    ) -> None:
        store = StudyStore(database)
        with pytest.raises(UnknownStudyError, match="stored: none at all"):
            store.get("tune")
        make_study("one")
        make_study("two")
        assert store.find("tune") is None
        with pytest.raises(UnknownStudyError, match="stored: one, two"):
            store.get("tune")
        assert [study.name for study in store.all()] == ["one", "two"]

    def test_the_weights_folder_is_an_absolute_path(self, database: Database, study: StoredStudy) -> None:
        store = StudyStore(database)
        assert study.weights_dir is None
        store.set_weights_dir(study.id, "/home/ann/weights ü")
        assert store.get("tune").weights_dir == "/home/ann/weights ü"
        for path in ("weights", "", "/a\0b", "/" + "x" * 5000):
            with pytest.raises(StorageError, match="absolute path"):
                store.set_weights_dir(study.id, path)
        with pytest.raises(UnknownStudyError):
            store.set_weights_dir(77, "/home")

    def test_state_budget_and_deadline_change(self, database: Database, study: StoredStudy) -> None:
        store = StudyStore(database)
        store.set_state(study.id, StudyState.STOPPED, "five failures in a row")
        store.set_budget(study.id, 9)
        store.set_deadline(study.id, 123.5)
        store.set_priority(study.id, -2)
        changed = store.get("tune")
        assert store.state(study.id) is changed.state is StudyState.STOPPED
        assert (changed.state_reason, changed.budget, changed.deadline) == ("five failures in a row", 9, 123.5)
        assert changed.priority == -2
        for change in (store.set_budget, store.set_deadline):
            with pytest.raises(UnknownStudyError):
                change(77, None)
        with pytest.raises(UnknownStudyError):
            store.state(77)

    def test_a_study_needs_its_data_set(self, database: Database) -> None:
        with pytest.raises(StorageError):
            StudyStore(database).create("x", fingerprint="0" * 64, spec={}, spec_hash="", file_spec={}, budget=1)


class TestTrials:
    def test_records_by_kind_and_status(self, database: Database, study: StoredStudy) -> None:
        queue, trials = WorkQueue(database), TrialStore(database)
        queue.add(study.id, WorkKind.CONFIRM, split=1, seed=3, recipe={"epochs": 1}, note={"trial": 4})
        confirm = queue.take(study.id, "w", 1.0)
        assert confirm is not None
        assert trials.record_of(confirm.id) is None
        queue.store(confirm, finished())
        failed = queue.take(study.id, "w", 1.0)
        assert failed is not None
        queue.fail(failed, Failure.BUG, "bug")

        (record,) = trials.records(study.id, kind=WorkKind.CONFIRM)
        assert record == trials.record_of(confirm.id)
        assert (record.split, record.seed, record.note, record.number) == (1, 3, {"trial": 4}, None)
        assert [r.work_id for r in trials.records(study.id, status=TrialStatus.FAILED)] == [failed.id]
        assert [r.work_id for r in trials.records(study.id)] == [confirm.id, failed.id]
        assert trials.records(study.id + 1) == []

    def test_the_error_for_a_missing_prediction_lists_the_stored_ones(
        self, database: Database, study: StoredStudy
    ) -> None:
        queue, trials = WorkQueue(database), TrialStore(database)
        queue.add(study.id, WorkKind.REFIT, split=0, seed=0, recipe={"epochs": 1})
        item = queue.take(study.id, "w", 1.0)
        assert item is not None
        queue.store(item, finished())
        (record,) = trials.records(study.id)
        with pytest.raises(StorageError, match=r"'oof.hflip'; stored: oof, test"):
            trials.prediction(record.id, "oof.hflip")


class TestExports:
    def test_exports_come_back_in_order(self, database: Database, study: StoredStudy, clock: StandingClock) -> None:
        exports = ExportStore(database)
        recipe = {"backbone": "resnet10t"}
        exports.add(study.id, folder="a", recipe=recipe, score=0.5, score_se=float("nan"), notes={"views": ["id"]})
        clock.forward(5)
        second = exports.add(study.id, folder="b", recipe=recipe, score=None, score_se=None)
        first_export, second_export = exports.all(study.id)
        assert (first_export.folder, first_export.score, first_export.score_se) == ("a", 0.5, None)
        assert (first_export.recipe, first_export.notes) == (recipe, {"views": ["id"]})
        assert (second_export.id, second_export.created) == (second, clock.seconds)

    def test_leaderboard_scores_are_recorded_and_replaced(self, database: Database, study: StoredStudy) -> None:
        exports = ExportStore(database)
        forecast = {"expected": 0.7, "low": 0.6, "high": 0.8, "level": 0.9, "test_images": 2, "metric": "accuracy"}
        number = exports.add(study.id, folder="a", recipe={}, score=0.5, score_se=0.1, forecast=forecast)
        other = exports.add(study.id, folder="b", recipe={}, score=0.5, score_se=0.1)
        assert exports.record_scores(number, public=0.65).public_score is None
        before = exports.record_scores(number, public=0.75, private=0.0)
        assert (before.public_score, before.private_score) == (0.65, None), "the export before the change"
        assert exports.record_scores(number).private_score == 0.0
        first, second = exports.all(study.id)
        assert (first.public_score, first.private_score, first.forecast) == (0.75, 0.0, forecast)
        assert (second.id, second.public_score, second.private_score, second.forecast) == (other, None, None, None)

    def test_invalid_scores_and_forecasts_are_not_stored(self, database: Database, study: StoredStudy) -> None:
        exports = ExportStore(database)
        number = exports.add(study.id, folder="a", recipe={}, score=0.5, score_se=0.1)
        for wrong in (float("nan"), float("inf"), float("-inf")):
            with pytest.raises(StorageError, match="private score is a finite number"):
                exports.record_scores(number, public=0.5, private=wrong)
            with pytest.raises(StorageError, match="finite numbers"):
                exports.add(study.id, folder="b", recipe={}, score=0.5, score_se=0.1, forecast={"low": wrong})
        with pytest.raises(StorageError, match=f"no export has the number {number + 1}"):
            exports.record_scores(number + 1, public=0.5)
        (export,) = exports.all(study.id)
        assert (export.public_score, export.private_score) == (None, None)


class TestWorkers:
    def test_heartbeats_keep_a_process_on_the_list(
        self, database: Database, clock: StandingClock, study: StoredStudy
    ) -> None:
        workers = WorkerStore(database)
        workers.heartbeat("b", host="h", pid=2, device="cpu")
        clock.forward(10)
        workers.heartbeat("a", host="h", pid=1, device="cuda:0")
        workers.heartbeat("a", host="h", pid=1, device="cuda:0", study_id=study.id)
        assert [worker.name for worker in workers.alive(within_seconds=10)] == ["a", "b"]
        (alive,) = workers.alive(within_seconds=9)
        assert (alive.name, alive.device, alive.study_id, alive.pid) == ("a", "cuda:0", study.id, 1)
        clock.forward(5)
        workers.heartbeat("a", host="h", pid=1, device="cuda:0")
        (alive,) = workers.alive(within_seconds=1)
        assert (alive.seen - alive.started, alive.study_id) == (5, None)

    def test_processes_leave_the_list(self, database: Database, clock: StandingClock) -> None:
        workers = WorkerStore(database)
        for name in "ab":
            workers.heartbeat(name, host="h", pid=1, device="cpu")
        workers.sign_off("a")
        workers.sign_off("a")
        workers.heartbeat("host-1-x", host="h", pid=1, device="cpu", role=Role.SUPERVISOR, home="here")
        assert [(w.role, w.home) for w in workers.alive(1)] == [(Role.WORKER, None), (Role.SUPERVISOR, "here")]
        workers.remove("host-1-")
        assert len(workers.alive(1)) == 2, "a name is matched as a whole"
        workers.remove("host-1-x")
        assert [worker.name for worker in workers.alive(1)] == ["b"]
        clock.forward(FORGET_AFTER + 1)
        workers.heartbeat("c", host="h", pid=1, device="cpu")
        assert [worker.name for worker in workers.alive(10 * FORGET_AFTER)] == ["c"]
