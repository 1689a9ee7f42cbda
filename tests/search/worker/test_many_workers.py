"""Several workers and studies on one database: failures, outages, stops, priorities, recovery of dead workers."""

from __future__ import annotations

import errno
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState
from sqlalchemy import create_engine, event, text

import trainer.training.cross_validation
from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE
from search.runtime.failures import WorkerLeaves
from search.runtime.signals import StopSignals
from search.study_setup.create_study import create_study
from search.study_setup.data_folder import DataMismatch
from search.study_setup.rules import LearnedLabels
from search.study_state.optuna_attributes import objective_of_trial
from search.study_state.search_trials import candidates
from search.study_state.study import Study
from search.tuning.report_to_optuna import report_to_optuna
from search.worker.dead_workers import sweep
from search.worker.lease import LEASE
from search.worker.loop import work
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.worker.training.train_item import train
from storage.errors import StorageError, StorageUnavailableError
from storage.optuna_storage.fleet_storage import FleetStorage
from storage.optuna_storage.optuna_rows import running_trials
from storage.queue.items import WorkItem
from storage.queue.settle import MAX_LOST_WORKERS
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import Failure, StudyState, TrialOutcome, TrialStatus, WorkKind, WorkState
from tests.databases import DIALECTS
from tests.search.small_study import make_context, study_plan, work_on, write_competition
from trainer.common.errors import DataError
from trainer.formats.weights.trained_on import TrainedOn, contents_of
from trainer.training.results import CVResult
from trainer.training.write_model_folder import save_weights

pytestmark = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)


def take(context: StudyContext) -> WorkItem:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    return item


def failing(error: Exception) -> Callable[[StudyContext, Task], TrialOutcome | None]:
    def broken(context: StudyContext, task: Task) -> TrialOutcome | None:
        raise error

    return broken


def with_training(context: StudyContext, training: Callable[[StudyContext, Task], TrialOutcome | None]) -> StudyContext:
    return replace(context, train=training)


class TestFailures:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (FileNotFoundError(errno.ENOENT, "gone", "p001.png"), EXIT_MISTAKE),
            (RuntimeError("CUDA error: device-side assert triggered"), EXIT_DEVICE),
        ],
    )
    def test_an_error_of_the_host_ends_its_worker_and_releases_the_trial(
        self, context: StudyContext, error: Exception, code: int
    ) -> None:
        with pytest.raises(WorkerLeaves) as left:
            work_on(with_training(context, failing(error)))
        assert left.value.exit_code == code
        assert context.stores.trials.records(context.study.id) == []
        assert context.stores.queue.counts(context.study.id)[WorkKind.SEARCH][WorkState.QUEUED] == 1
        work_on(context)
        records = context.stores.trials.records(context.study.id)
        assert [(r.number, r.status) for r in records] == [(n, TrialStatus.FINISHED) for n in range(3)]
        assert records[0].attempt == 2

    def test_a_full_disk_fails_the_trial_with_its_reason_and_ends_the_worker(self, context: StudyContext) -> None:
        full = DataError("the disk is full: 3 MiB of resized images do not fit")
        full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(WorkerLeaves, match="the disk is full"):
            work_on(with_training(context, failing(full)))
        (record,) = context.stores.trials.records(context.study.id)
        assert (record.status, record.failure, record.number) == (TrialStatus.FAILED, Failure.DISK, 0)
        assert "the disk is full" in record.reason

    def test_a_trial_fails_after_too_many_attempts(self, context: StudyContext) -> None:
        hungry = with_training(context, failing(MemoryError()))
        for _ in range(MAX_LOST_WORKERS):
            run_item(hungry, take(hungry), lambda: False)
        take(context)
        (record,) = context.stores.trials.records(context.study.id)
        assert (record.status, record.failure, record.number) == (TrialStatus.FAILED, Failure.LOST, 0)

    def test_an_outcome_that_cannot_be_stored_is_stored_as_a_failure(
        self, context: StudyContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = context.stores.queue.store

        def picky(item: WorkItem, outcome: TrialOutcome) -> bool:
            if outcome.status is TrialStatus.FINISHED:
                raise StorageError("an array of 2,000,000,000 bytes is too large to store")
            return store(item, outcome)

        monkeypatch.setattr(context.stores.queue, "store", picky)
        run_item(context, take(context), lambda: False)
        (record,) = context.stores.trials.records(context.study.id)
        assert (record.status, record.failure) == (TrialStatus.FAILED, Failure.BUG)
        assert "too large" in record.reason

    def test_an_error_after_the_lease_is_lost_is_dropped(self, context: StudyContext) -> None:
        item = take(context)

        def losing_the_lease(context: StudyContext, task: Task) -> TrialOutcome | None:
            context.stores.recovery.expire_worker(context.worker)
            assert context.stores.queue.take(context.study.id, "other-worker", LEASE) is not None
            raise KeyError("caused by the loss")

        run_item(with_training(context, losing_the_lease), item, lambda: False)
        assert context.stores.trials.records(context.study.id) == []
        assert context.stores.queue.states(context.study.id) == {item.id: WorkState.LEASED}


class TestOutage:
    def test_repeated_connection_loss_during_trials_loses_nothing(
        self, context: StudyContext, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if dialect == "sqlite":
            pytest.skip("a file has no connections that a server could cut")
        monkeypatch.setattr("storage.database.outages.FIRST_PAUSE", 0.01)
        cuts = 0
        database = context.stores.database

        def cut() -> None:
            nonlocal cuts
            other = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
            with pytest.raises(StorageError), database.writing() as connection:
                connection.execute(text(other))  # its own connection is one of them
            cuts += 1

        def cross_validate(*args: object, on_epoch: Callable[[object], object], **options: object) -> CVResult:
            def between(report: object) -> object:
                cut()
                verdict = on_epoch(report)
                cut()
                return verdict

            return original(*args, on_epoch=between, **options)  # type: ignore[arg-type]

        original = trainer.training.cross_validation.cross_validate
        monkeypatch.setattr(trainer.training.cross_validation, "cross_validate", cross_validate)
        work_on(context)
        assert cuts == 3 * 3 * 2
        records = context.stores.trials.records(context.study.id)
        assert [(r.number, r.status, r.attempt) for r in records] == [(n, TrialStatus.FINISHED, 1) for n in range(3)]
        assert [t.state for t in context.optuna_study.get_trials()] == [TrialState.COMPLETE] * 3

    def test_connection_loss_before_any_statement_of_a_trial_loses_nothing(
        self, context: StudyContext, url: str, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The connection is cut before the first statement of a trial, before the second, and so on to the last."""
        if dialect == "sqlite":
            pytest.skip("a file has no connections that a server could cut")
        monkeypatch.setattr("storage.database.outages.FIRST_PAUSE", 0.001)
        context.stores.studies.set_budget(context.study.id, 1000)
        killer = create_engine(url)
        countdown = executed = 0

        def before(connection: Any, *_rest: object) -> None:
            nonlocal countdown, executed
            executed += 1
            countdown -= 1
            if countdown == 0:
                pid = connection.connection.driver_connection.info.backend_pid
                with killer.connect() as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

        def reporting(context: StudyContext, task: Task) -> TrialOutcome | None:
            trial = task.trial
            assert trial is not None
            for epoch in (1, 2):
                trial.report(0.5, epoch)
                assert not task.stop_requested()
                assert not trial.should_prune()
            return TrialOutcome(status=TrialStatus.FINISHED, value=0.5, brier=0.5, ambiguity=0.0, epochs_done=2)

        quick = with_training(context, reporting)
        event.listen(context.stores.database.engine, "before_cursor_execute", before)
        studies, queue = context.stores.studies, context.stores.queue
        statements = trials = 0
        for cut in range(1000):
            executed, countdown = 0, cut  # nothing is cut the first time
            item = queue.take(context.study.id, context.worker, LEASE)
            assert item is not None
            run_item(quick, item, lambda: studies.state(context.study.id) is StudyState.PAUSED)
            trials += 1
            statements = statements or executed
            if cut > statements:
                break
        event.remove(context.stores.database.engine, "before_cursor_execute", before)
        killer.dispose()
        assert trials > 30
        records = context.stores.trials.records(context.study.id)
        assert [r.status for r in records] == [TrialStatus.FINISHED] * trials
        assert {r.attempt for r in records} <= {1, 2}
        sweep(context.stores, context.study.stored)
        by_state = Counter(t.state for t in context.optuna_study.get_trials())
        # A lost answer to `ask` leaves an orphaned trial, which a later item adopts.
        assert by_state[TrialState.COMPLETE] == trials
        assert set(by_state) <= {TrialState.COMPLETE, TrialState.RUNNING}
        assert queue.unreported(context.study.id) == []

    def test_a_confirmation_is_reported_once_although_the_answer_was_lost(
        self, context: StudyContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.database.outages.FIRST_PAUSE", 0.001)
        queue, recipe = context.stores.queue, context.spec.default_recipe()
        queue.add(context.study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=recipe)
        assert queue.store(take(context), TrialOutcome(status=TrialStatus.FINISHED, value=0.5, epochs_done=2))
        create, lost = FleetStorage.create_new_trial, []

        def losing(backend: FleetStorage, *args: Any, **options: Any) -> int:
            number = create(backend, *args, **options)
            if not lost:
                lost.append(number)
                raise StorageUnavailableError("the connection broke after the commit")
            return number

        monkeypatch.setattr(FleetStorage, "create_new_trial", losing)
        report_to_optuna(context.stores, context.study.id, context.optuna_study)
        assert lost
        assert len(context.stores.optuna_study(f"{context.study.name}.confirm").get_trials()) == 1
        assert queue.unreported(context.study.id) == []


class TestStopping:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("state", "kinds"), [(StudyState.PAUSED, []), (StudyState.STOPPED, [WorkKind.REFIT])], ids=["pause", "stop"]
    )
    def test_within_an_epoch(self, context: StudyContext, state: StudyState, kinds: list[WorkKind]) -> None:
        """The state is set during the first epoch of trial 0. Refits continue if only the search is stopped."""
        studies, queue = context.stores.studies, context.stores.queue

        def changing(context: StudyContext, task: Task) -> TrialOutcome | None:
            if task.item.kind is WorkKind.SEARCH:
                queue.add(context.study.id, WorkKind.REFIT, split=0, seed=1, recipe=context.spec.default_recipe())
                studies.set_state(context.study.id, state)
            return train(context, task)

        work_on(with_training(context, changing))
        trial = context.optuna_study.get_trials()[0]
        assert (trial.state, sorted(trial.intermediate_values)) == (TrialState.RUNNING, [1])
        assert [record.kind for record in context.stores.trials.records(context.study.id)] == kinds
        assert queue.counts(context.study.id)[WorkKind.SEARCH][WorkState.QUEUED] == 1

        studies.set_state(context.study.id, StudyState.RUNNING)
        work_on(context)
        records = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
        assert [(r.number, r.status) for r in records] == [(n, TrialStatus.FINISHED) for n in range(3)]
        curves = context.stores.trials.curves(records[0].id)
        assert [curve.epoch for curve in curves] == [1, 2, 3], "the trial continued from its checkpoint"

    @pytest.mark.slow
    def test_an_epoch_longer_than_the_grace_period_is_abandoned_and_the_trial_released(
        self, context: StudyContext
    ) -> None:
        """A stop in the first epoch, without a grace period: nothing is reported, nothing is lost."""
        signals = StopSignals(grace=0.0)

        def stopping(context: StudyContext, task: Task) -> TrialOutcome | None:
            signals._receive(signal.SIGTERM, None)
            return train(context, task)

        work_on(with_training(context, stopping), signals)
        trial = context.optuna_study.get_trials()[0]
        assert (trial.state, trial.intermediate_values) == (TrialState.RUNNING, {})
        assert context.stores.queue.counts(context.study.id)[WorkKind.SEARCH][WorkState.QUEUED] == 1
        work_on(context)
        assert len(context.stores.trials.records(context.study.id, status=TrialStatus.FINISHED)) == 3


class TestManyStudies:
    @pytest.fixture
    def second(self, stores: Stores, study_file: Path, competition_folder: Path) -> Study:
        return create_study(stores, study_plan(study_file, competition_folder, name="second"))

    def serve(self, context: StudyContext, others: dict[str, StudyContext]) -> list[str]:
        """Work on all studies. Returns the study of each trial, in order."""
        contexts = {context.study.name: context, **others}

        def open_context(study: StoredStudy) -> StudyContext:
            if study.name not in contexts:
                raise DataMismatch(f"the images of {study.name} are elsewhere")
            return contexts[study.name]

        study_ids: list[int | None] = []
        work(context.stores, open_context, StopSignals(), home=context.home, on_study=study_ids.append)
        names = {study.id: study.name for study in context.stores.studies.all()}
        return [names[study_id] for study_id in study_ids if study_id is not None]

    @pytest.mark.slow
    def test_studies_of_equal_priority_are_served_in_turn(
        self, context: StudyContext, stores: Stores, second: Study, competition_folder: Path
    ) -> None:
        other = make_context(stores, second, competition_folder, context.home.root)
        served = self.serve(context, {"second": other})
        assert served == ["colours", "second"] * 3
        for study in (context.study, second):
            assert [r.number for r in stores.trials.records(study.id)] == [0, 1, 2]

    @pytest.mark.slow
    def test_the_study_with_the_highest_priority_is_served_first(
        self, context: StudyContext, stores: Stores, second: Study, competition_folder: Path
    ) -> None:
        other = make_context(stores, second, competition_folder, context.home.root)
        stores.studies.set_priority(second.id, 1)
        assert self.serve(context, {"second": other}) == ["second"] * 3 + ["colours"] * 3

    @pytest.mark.slow
    def test_a_study_whose_images_are_elsewhere_is_left_to_others(
        self, context: StudyContext, second: Study, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.serve(context, {}) == ["colours"] * 3
        assert caplog.text.count("study second is left to other workers") == 1
        assert context.stores.queue.states(second.id) == {}

    def test_images_are_found_by_fingerprint_among_the_folders(
        self, context: StudyContext, stores: Stores, competition_folder: Path, study_file: Path, tmp_path: Path
    ) -> None:
        from search.worker.study_cache import StudyCache, WorkerResources

        (tmp_path / "others").mkdir()
        elsewhere = write_competition(tmp_path / "others", seed=1)
        second = create_study(stores, study_plan(study_file, elsewhere, name="second"))
        resources = WorkerResources(
            worker="w",
            stores=stores,
            home=context.home,
            folders=(competition_folder, tmp_path, elsewhere),
            device=context.device,
            loader=context.loader,
        )
        study_cache = StudyCache(resources)
        assert study_cache.context(second.stored).images.fingerprint == second.fingerprint
        assert study_cache.context(context.study.stored).images.fingerprint == context.study.fingerprint
        assert study_cache.context(second.stored) is study_cache.context(second.stored), "a study is opened once"
        (elsewhere / "train.csv").write_text("picture,colour\n")
        (lost := StudyCache(resources)).context(context.study.stored)
        with pytest.raises(DataMismatch, match=r"none of the folders .* holds the images of study second"):
            lost.context(second.stored)

    def test_a_folder_of_weights_that_know_the_labels_is_refused(
        self, context: StudyContext, stores: Stores, competition_folder: Path, study_file: Path, tmp_path: Path
    ) -> None:
        """`search start` has checked another folder."""
        from search.worker.study_cache import StudyCache, WorkerResources

        knows = TrainedOn(
            folder="own",
            fingerprint="1" * 64,
            images=30,
            classes=3,
            contents=contents_of(context.images.training_contents),
        )
        for name, sets in (("clean", [replace(knows, contents=contents_of([b"0" * 32]))]), ("knowing", [knows])):
            save_weights(tmp_path / name / "art.safetensors", {"weight": torch.zeros(1)}, sets)
        plan = study_plan(study_file, competition_folder, "recipe.init=art", name="begun")
        study = create_study(stores, replace(plan, weights_dir=tmp_path / "clean"))
        resources = WorkerResources(
            worker="w",
            stores=stores,
            home=context.home,
            folders=(competition_folder,),
            device=context.device,
            loader=context.loader,
        )
        assert StudyCache(resources).context(study.stored).weights_dir == tmp_path / "clean"
        with pytest.raises(LearnedLabels, match="init = 'art': these weights have learned the labels of 30 of the 30"):
            StudyCache(replace(resources, weights_dir=tmp_path / "knowing")).context(study.stored)


class TestSweeping:
    def test_orphaned_trials_fail_when_no_trial_may_begin_any_more(self, context: StudyContext) -> None:
        work_on(context)
        context.optuna_study.ask()  # its worker dies right after this
        assert running_trials(context.stores.database, "colours") == [3]
        sweep(context.stores, context.study.stored)
        trials = context.optuna_study.get_trials()
        assert [t.state for t in trials] == [TrialState.COMPLETE] * 3 + [TrialState.FAIL]

    def test_orphaned_trials_wait_while_a_trial_may_begin_or_the_study_is_paused(self, context: StudyContext) -> None:
        context.optuna_study.ask()
        sweep(context.stores, context.study.stored)
        context.stores.studies.set_state(context.study.id, StudyState.PAUSED)
        sweep(context.stores, context.study.stored)
        assert running_trials(context.stores.database, "colours") == [0]
        context.stores.studies.set_state(context.study.id, StudyState.STOPPED)
        sweep(context.stores, context.study.stored)
        assert running_trials(context.stores.database, "colours") == []

    def test_a_stored_outcome_is_reported_to_optuna(
        self, context: StudyContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("search.worker.run_item.report_to_optuna", lambda *args: None)
            run_item(context, take(context), lambda: False)
        sweep(context.stores, context.study.stored)
        assert context.optuna_study.get_trials()[0].state is TrialState.COMPLETE

    def test_the_trial_of_a_dead_worker_is_released_even_if_the_study_is_paused(self, context: StudyContext) -> None:
        item = take(context)
        context.stores.studies.set_state(context.study.id, StudyState.PAUSED)
        context.stores.recovery.expire_worker(context.worker)
        sweep(context.stores, context.study.stored)
        assert context.stores.queue.states(context.study.id) == {item.id: WorkState.QUEUED}


def test_a_worker_suspended_past_its_lease_drops_its_result_and_changes_nothing(
    context: StudyContext, stores: Stores, competition_folder: Path
) -> None:
    """Another worker finishes the trial while the first is suspended in its second epoch."""
    rival = make_context(stores, context.study, competition_folder, context.home.root / "rival", "rival")
    suspensions: list[bool] = []

    def suspended(context: StudyContext, task: Task) -> TrialOutcome | None:
        def cross_validate(*args: object, on_epoch: Callable[[object], object], **options: object) -> CVResult:
            def suspending(report: object) -> object:
                if getattr(report, "epoch", 0) == 2 and not suspensions:
                    suspensions.append(True)
                    stores.recovery.expire_worker(context.worker)
                    item = stores.queue.take(context.study.id, "rival", LEASE)
                    assert item is not None
                    run_item(rival, item, lambda: False)
                    task.lease._renewed_at -= 10 * LEASE  # length of the suspension
                return on_epoch(report)

            return original(*args, on_epoch=suspending, **options)  # type: ignore[arg-type]

        original = trainer.training.cross_validation.cross_validate
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer.training.cross_validation, "cross_validate", cross_validate)
            return train(context, task)

    run_item(with_training(context, suspended), take(context), lambda: False)
    (record,) = stores.trials.records(context.study.id)
    assert (record.worker, record.attempt) == ("rival", 2)
    trial = context.optuna_study.get_trials()[0]
    objective = candidates([record], context.spec.protocol.metric)[0].objective
    assert (trial.state, objective_of_trial(trial)) == (TrialState.COMPLETE, objective)
    assert record.value is not None and trial.value == pytest.approx(record.value, abs=5e-5)
    assert stores.queue.states(context.study.id) == {record.work_id: WorkState.STORED}
