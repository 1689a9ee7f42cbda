"""The work queue: budgets, leases, fencing, and results that are stored once or not at all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from sqlalchemy import func, select, update

from storage.database.connection import Database, connect
from storage.database.tables import Base, Curve, Prediction, Trial, Work
from storage.errors import StorageError, UnknownStudyError
from storage.queue.items import WorkItem
from storage.queue.settle import MAX_LOST_WORKERS
from storage.queue.work_queue import WorkQueue
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from storage.records.trials import TrialStore
from storage.values import Failure, StudyState, TrialOutcome, TrialStatus, WorkKind, WorkState
from tests.storage.samples import LEASE, PROCESSES, RECIPE, StandingClock, curve, finished, take, take_assigned


@pytest.fixture
def queue(database: Database) -> WorkQueue:
    return WorkQueue(database)


def rows(database: Database, table: type[Base]) -> int:
    with database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


class TestTaking:
    def test_a_new_search_item_has_no_recipe_yet(self, queue: WorkQueue, study: StoredStudy) -> None:
        item = take(queue, study)
        assert (item.kind, item.recipe, item.trial_number, item.attempt) == (WorkKind.SEARCH, None, None, 1)
        assert (item.split, item.seed, item.worker) == (0, 0, "w1")

    def test_the_budget_limits_the_search_items(self, queue: WorkQueue, study: StoredStudy) -> None:
        assert len({take(queue, study).id for _ in range(3)}) == 3
        assert queue.take(study.id, "w1", LEASE) is None

    def test_stored_items_count_against_the_budget_and_failed_ones_do_not(
        self, queue: WorkQueue, study: StoredStudy
    ) -> None:
        for number, status in enumerate([TrialStatus.PRUNED, TrialStatus.DIVERGED]):
            assert queue.store(take_assigned(queue, study, number), TrialOutcome(status=status))
        for _ in range(4):
            assert queue.fail(take(queue, study), Failure.BUG, "out of disk")
        take(queue, study)
        assert queue.take(study.id, "w1", LEASE) is None

    def test_skipped_items_are_left_to_other_workers(self, queue: WorkQueue, study: StoredStudy) -> None:
        trial = take_assigned(queue, study, 0)
        assert queue.release(trial)
        other = queue.take(study.id, "w1", LEASE, skip={trial.id})
        assert other is not None and other.id != trial.id
        assert take(queue, study, "w2").id == trial.id

    def test_a_raised_budget_allows_more(self, queue: WorkQueue, database: Database, study: StoredStudy) -> None:
        for _ in range(3):
            take(queue, study)
        StudyStore(database).set_budget(study.id, 4)
        take(queue, study)
        assert queue.take(study.id, "w1", LEASE) is None

    def test_without_a_budget_the_deadline_ends_the_search(
        self, queue: WorkQueue, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        study = make_study(budget=None, deadline=clock.seconds + 10)
        for _ in range(5):
            take(queue, study)
        clock.forward(10)
        assert queue.take(study.id, "w1", LEASE) is None

    def test_the_order_is_begun_items_then_given_recipes_then_new_items(
        self, queue: WorkQueue, study: StoredStudy
    ) -> None:
        begun = take(queue, study)
        given = queue.add(study.id, WorkKind.CONFIRM, split=1, seed=5, recipe=RECIPE, note={"of": 2})
        queue.release(begun)
        first, second, third = (take(queue, study) for _ in range(3))
        assert [first.id, second.id] == [begun.id, given]
        assert third.id not in (begun.id, given)
        assert third.kind is WorkKind.SEARCH
        assert (second.recipe, second.split, second.seed, second.note) == (RECIPE, 1, 5, {"of": 2})

    def test_only_items_of_the_given_kinds_are_taken(self, queue: WorkQueue, study: StoredStudy) -> None:
        queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE)
        confirm_only = queue.take(study.id, "w1", LEASE, kinds=(WorkKind.CONFIRM,))
        search_only = queue.take(study.id, "w1", LEASE, kinds=(WorkKind.SEARCH,))
        assert confirm_only is None
        assert search_only is not None and search_only.kind is WorkKind.SEARCH

    def test_a_paused_study_has_no_items_to_take(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE)
        StudyStore(database).set_state(study.id, StudyState.PAUSED)
        assert queue.take(study.id, "w1", LEASE) is None
        StudyStore(database).set_state(study.id, StudyState.RUNNING)
        assert take(queue, study).kind is WorkKind.REFIT

    def test_a_stopped_study_still_has_refits_to_take(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        queue.release(take(queue, study))
        queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE)
        StudyStore(database).set_state(study.id, StudyState.STOPPED)
        assert take(queue, study).kind is WorkKind.REFIT
        assert queue.take(study.id, "w1", LEASE) is None

    def test_studies_do_not_mix(self, queue: WorkQueue, make_study: Callable[..., StoredStudy]) -> None:
        one, other = make_study("one", budget=1), make_study("other", budget=1)
        assert take(queue, one).study_id == one.id
        assert take(queue, other).study_id == other.id
        assert queue.take(one.id, "w1", LEASE) is None

    def test_an_unknown_study_is_an_error(self, queue: WorkQueue) -> None:
        with pytest.raises(UnknownStudyError):
            queue.take(77, "w1", LEASE)
        with pytest.raises(UnknownStudyError):
            queue.may_begin(77)

    def test_items_bound_to_a_home_go_to_its_workers_only(self, queue: WorkQueue, study: StoredStudy) -> None:
        def refit_for(home: str | None) -> WorkItem | None:
            return queue.take(study.id, "w1", LEASE, kinds=(WorkKind.REFIT,), home=home)

        bound = queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE, home="here")
        assert refit_for(None) is None
        assert refit_for("elsewhere") is None
        queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE, home="elsewhere")
        assert refit_for("here") is None, "the latest call of `add` decides"
        item = refit_for("elsewhere")
        assert item is not None and item.id == bound
        assert queue.store(item, finished())
        assert queue.reopen(bound, home="here")
        again = refit_for("here")
        assert again is not None and again.id == bound
        free = queue.add(study.id, WorkKind.REFIT, split=0, seed=2, recipe=RECIPE)
        item = refit_for("anywhere")
        assert item is not None and item.id == free


class TestLeases:
    def test_another_worker_continues_the_trial_when_the_lease_has_run_out(
        self, queue: WorkQueue, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        study = make_study(budget=1)
        item = take_assigned(queue, study, 0)
        clock.forward(LEASE - 1)
        assert queue.take(study.id, "w2", LEASE) is None
        clock.forward(1)
        adopted = take(queue, study, "w2")
        assert (adopted.id, adopted.trial_number, adopted.recipe) == (item.id, 0, item.recipe)
        assert (adopted.attempt, adopted.worker) == (2, "w2")

    def test_renewing_keeps_the_item(
        self, queue: WorkQueue, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        study = make_study(budget=1)
        item = take(queue, study)
        for _ in range(5):
            clock.forward(LEASE - 1)
            assert queue.renew(item, LEASE)
        assert queue.take(study.id, "w2", LEASE) is None

    def test_an_expired_lease_can_be_renewed_until_another_worker_takes_the_item(
        self, queue: WorkQueue, clock: StandingClock, study: StoredStudy
    ) -> None:
        item = take(queue, study)
        clock.forward(10 * LEASE)
        assert queue.renew(item, LEASE)
        assert take(queue, study, "w2").id != item.id

    @pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
    def test_taking_does_not_wait_for_a_holder_that_is_renewing(
        self, queue: WorkQueue, database: Database, clock: StandingClock, study: StoredStudy
    ) -> None:
        renewing, other = take(queue, study), take(queue, study)
        clock.forward(LEASE)
        with database.writing() as connection:
            connection.execute(update(Work).where(Work.id == renewing.id).values(lease_until=clock() + LEASE))
            assert take(queue, study, "w2").id == other.id

    @pytest.mark.parametrize("new_worker", ["w2", "w1"])
    def test_a_former_holder_can_write_nothing(
        self, queue: WorkQueue, database: Database, clock: StandingClock, study: StoredStudy, new_worker: str
    ) -> None:
        """Even if the new holder has the same name."""
        old = take_assigned(queue, study, 0)
        clock.forward(LEASE)
        new = take(queue, study, new_worker)
        assert new.id == old.id
        assert not queue.renew(old, LEASE)
        assert not queue.store(old, finished())
        assert not queue.fail(old, Failure.BUG, "late")
        assert not queue.release(old)
        assert queue.assign_trial(old, 9, RECIPE) is None
        assert (rows(database, Trial), rows(database, Curve), rows(database, Prediction)) == (0, 0, 0)

        assert queue.store(new, finished())
        assert not queue.store(old, finished(value=0.1))
        record = TrialStore(database).record_of(new.id)
        assert record is not None
        assert (record.value, record.number, record.attempt, record.worker) == (0.75, 0, 2, new_worker)

    def test_releasing_does_not_count_as_a_lost_worker(
        self, queue: WorkQueue, make_study: Callable[..., StoredStudy]
    ) -> None:
        study = make_study(budget=1)
        attempts = []
        for _ in range(3 * MAX_LOST_WORKERS):
            item = take(queue, study)
            attempts.append(item.attempt)
            assert queue.release(item)
            assert not queue.renew(item, LEASE)
        assert attempts == list(range(1, 3 * MAX_LOST_WORKERS + 1))

    @pytest.mark.parametrize("how", ["vanish", "break down"])
    def test_an_item_that_has_lost_too_many_workers_fails_with_a_reason(
        self, queue: WorkQueue, database: Database, clock: StandingClock, how: str, study: StoredStudy
    ) -> None:
        held = take_assigned(queue, study, 4)
        for worker in ["w2", "w3", "w4", "w5", "w6"]:
            if how == "vanish":
                clock.forward(LEASE)
            else:
                assert queue.release(held, count_as_lost_worker=True)
            following = take(queue, study, worker)
            if following.id != held.id:
                break
            held = following
        assert following.worker == "w6"
        assert following.recipe is None
        record = TrialStore(database).record_of(held.id)
        assert record is not None
        assert (record.status, record.number, record.recipe) == (TrialStatus.FAILED, 4, held.recipe)
        assert "5 workers" in record.reason and "w5" in record.reason
        assert record.failure is Failure.LOST
        assert [record.number for record in queue.unreported(study.id)] == [4]
        assert not queue.store(held, finished()), "the last holder was only slow, but is fenced off"

    def test_such_an_item_fails_even_when_no_trial_may_begin(
        self, queue: WorkQueue, database: Database, clock: StandingClock, make_study: Callable[..., StoredStudy]
    ) -> None:
        study = make_study(budget=1)
        for _ in range(MAX_LOST_WORKERS):
            take(queue, study)
            clock.forward(LEASE)
        StudyStore(database).set_budget(study.id, 0)
        assert queue.take(study.id, "w1", LEASE) is None
        assert queue.counts(study.id)[WorkKind.SEARCH][WorkState.FAILED] == 1


class TestWithdrawing:
    def test_a_waiting_item_is_deleted(self, queue: WorkQueue, clock: StandingClock, study: StoredStudy) -> None:
        first = queue.add(study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=RECIPE)
        item = take(queue, study)
        assert not queue.withdraw(first), "a worker has it"
        clock.forward(LEASE)
        assert queue.withdraw(first)
        assert not queue.withdraw(first)
        assert not queue.store(item, finished()), "the former holder was only slow, but is fenced off"
        assert queue.counts(study.id)[WorkKind.CONFIRM] == dict.fromkeys(WorkState, 0)
        queue.add(study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=RECIPE)
        assert queue.store(take(queue, study), finished())

    def test_settled_items_and_search_items_stay(self, queue: WorkQueue, study: StoredStudy) -> None:
        done = queue.add(study.id, WorkKind.CONFIRM, split=1, seed=1, recipe=RECIPE)
        assert queue.store(take(queue, study), finished())
        trial = take_assigned(queue, study, 0)
        assert queue.release(trial)
        assert not queue.withdraw(done) and not queue.withdraw(trial.id)
        assert take(queue, study).id == trial.id


class TestAdding:
    def test_the_same_item_twice_is_one(self, queue: WorkQueue, study: StoredStudy) -> None:
        shuffled = dict(reversed(RECIPE.items()))
        first = queue.add(study.id, WorkKind.CONFIRM, split=1, seed=5, recipe=RECIPE)
        assert queue.add(study.id, WorkKind.CONFIRM, split=1, seed=5, recipe=shuffled) == first
        others = {
            queue.add(study.id, WorkKind.CONFIRM, split=2, seed=5, recipe=RECIPE),
            queue.add(study.id, WorkKind.CONFIRM, split=1, seed=6, recipe=RECIPE),
            queue.add(study.id, WorkKind.REFIT, split=1, seed=5, recipe=RECIPE),
            queue.add(study.id, WorkKind.CONFIRM, split=1, seed=5, recipe={**RECIPE, "epochs": 4}),
        }
        assert len(others | {first}) == 5

    def test_adding_a_settled_item_changes_nothing(self, queue: WorkQueue, study: StoredStudy) -> None:
        first = queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE)
        assert queue.store(take(queue, study), finished())
        assert queue.add(study.id, WorkKind.REFIT, split=0, seed=1, recipe=RECIPE) == first
        assert queue.counts(study.id)[WorkKind.REFIT] == {**dict.fromkeys(WorkState, 0), WorkState.STORED: 1}

    def test_search_items_may_share_a_recipe(self, queue: WorkQueue, study: StoredStudy) -> None:
        for number in range(2):
            assert queue.assign_trial(take(queue, study), number, RECIPE) is not None

    def test_two_items_cannot_own_the_same_trial(self, queue: WorkQueue, study: StoredStudy) -> None:
        take_assigned(queue, study, 0)
        with pytest.raises(StorageError):
            queue.assign_trial(take(queue, study), 0, RECIPE)

    def test_a_recipe_that_json_cannot_represent_is_refused(self, queue: WorkQueue, study: StoredStudy) -> None:
        with pytest.raises(StorageError, match="finite"):
            queue.add(study.id, WorkKind.REFIT, split=0, seed=0, recipe={"optimizer.lr": float("nan")})


class TestStoring:
    def test_everything_comes_back_as_it_was(self, queue: WorkQueue, database: Database, study: StoredStudy) -> None:
        item = take_assigned(queue, study, 7)
        outcome = finished()
        assert queue.store(item, outcome)
        trials = TrialStore(database)
        (record,) = trials.records(study.id)
        assert (record.work_id, record.kind, record.number) == (item.id, WorkKind.SEARCH, 7)
        assert (record.status, record.value, record.value_se, record.mean_true_probability) == (
            TrialStatus.FINISHED,
            0.75,
            0.1,
            0.6,
        )
        assert (record.recipe, record.machine) == (item.recipe, {"device": "cpu", "micro_batch": 16})
        assert list(record.recipe or {}) == list(RECIPE)
        curves = trials.curves(record.id)
        assert [c.epoch for c in curves] == [1, 2]
        np.testing.assert_array_equal(curves[1].true_class, curve(2).true_class)
        assert curves[1].true_class.dtype == np.float16
        np.testing.assert_array_equal(curves[1].fold_metrics, (0.5, np.nan))
        assert trials.prediction_names(record.id) == ("oof", "test")
        for name, proba in outcome.predictions.items():
            np.testing.assert_array_equal(trials.prediction(record.id, name), proba)

    def test_storing_twice_is_storing_once(self, queue: WorkQueue, database: Database, study: StoredStudy) -> None:
        """A call is repeated if its answer was lost with the connection."""
        item = take_assigned(queue, study, 0)
        assert queue.store(item, finished())
        assert queue.store(item, finished(value=0.1))
        assert [record.value for record in TrialStore(database).records(study.id)] == [0.75]

    def test_an_error_in_the_middle_leaves_nothing(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        item = take_assigned(queue, study, 0)
        duplicate_epoch = TrialOutcome(status=TrialStatus.PRUNED, curves=(curve(1), curve(1)))
        with pytest.raises(StorageError):
            queue.store(item, duplicate_epoch)
        assert (rows(database, Trial), rows(database, Curve)) == (0, 0)
        assert queue.counts(study.id)[WorkKind.SEARCH][WorkState.LEASED] == 1
        assert queue.store(item, finished())

    def test_a_pruned_trial_keeps_its_curves_and_reason(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        outcome = TrialOutcome(status=TrialStatus.PRUNED, reason="rung 1", value=0.5, epochs_done=1, curves=(curve(1),))
        assert queue.store(take_assigned(queue, study, 0), outcome)
        (record,) = TrialStore(database).records(study.id, status=TrialStatus.PRUNED)
        assert (record.reason, record.epochs_done) == ("rung 1", 1)
        assert len(TrialStore(database).curves(record.id)) == 1

    def test_a_diverged_trial_may_hold_numbers_that_are_not_finite(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        item = take_assigned(queue, study, 0)
        assert queue.store(
            item, TrialOutcome(status=TrialStatus.DIVERGED, value=float("inf"), mean_true_probability=float("nan"))
        )
        (record,) = TrialStore(database).records(study.id)
        assert (record.value, record.mean_true_probability) == (None, None)

    def test_a_failure_may_come_before_the_recipe_and_hold_odd_characters(
        self, queue: WorkQueue, database: Database, study: StoredStudy
    ) -> None:
        assert queue.fail(take(queue, study), Failure.BUG, "cannot read a\0b\udcff.jpg " + "x" * 10_000)
        (record,) = TrialStore(database).records(study.id, status=TrialStatus.FAILED)
        assert record.reason.startswith("cannot read a\\0b\\udcff.jpg xxx")
        assert len(record.reason) <= 4000
        assert (record.recipe, record.number) == (None, None)
        assert queue.unreported(study.id) == []

    def test_a_result_needs_an_assigned_trial(self, queue: WorkQueue, study: StoredStudy) -> None:
        with pytest.raises(StorageError, match="assign_trial"):
            queue.store(take(queue, study), finished())

    def test_stored_outcomes_are_unreported_until_marked(self, queue: WorkQueue, study: StoredStudy) -> None:
        done = take_assigned(queue, study, 0)
        queue.store(done, finished())
        queue.fail(take_assigned(queue, study, 1), Failure.DISK, "a bug")
        running = take_assigned(queue, study, 2)
        assert [(record.number, record.status) for record in queue.unreported(study.id)] == [
            (0, TrialStatus.FINISHED),
            (1, TrialStatus.FAILED),
        ]
        for work_id in [done.id, done.id, running.id]:
            queue.mark_reported(work_id)
        assert [record.number for record in queue.unreported(study.id)] == [1]
        queue.store(running, finished())
        assert [record.number for record in queue.unreported(study.id)] == [1, 2]

    def test_consecutive_failures_are_reset_by_a_success_and_by_setting_the_study_running(
        self, queue: WorkQueue, database: Database, clock: StandingClock, study: StoredStudy
    ) -> None:
        trials = TrialStore(database)
        assert trials.consecutive_failures(study.id) == 0
        for _ in range(2):
            queue.fail(take(queue, study), Failure.BUG, "bug")
        assert trials.consecutive_failures(study.id) == 2
        queue.store(take_assigned(queue, study, 0), TrialOutcome(status=TrialStatus.PRUNED))
        assert trials.consecutive_failures(study.id) == 0
        queue.fail(take(queue, study), Failure.BUG, "bug")
        assert trials.consecutive_failures(study.id) == 1
        clock.forward(1)
        StudyStore(database).set_state(study.id, StudyState.RUNNING)
        assert trials.consecutive_failures(study.id) == 0, "the user may have removed the cause"

    def test_records_are_counted_by_kind(self, queue: WorkQueue, database: Database, study: StoredStudy) -> None:
        trials = TrialStore(database)
        queue.store(take_assigned(queue, study, 0), finished())
        queue.store(take_assigned(queue, study, 1), TrialOutcome(status=TrialStatus.PRUNED))
        assert (trials.count(study.id, WorkKind.SEARCH), trials.count(study.id, WorkKind.REFIT)) == (2, 0)


def _take_all(url: str, study_id: int, worker: str) -> list[int]:
    """Take items until there are none. Every third one fails, so that it does not count against the budget."""
    database = connect(url)
    queue = WorkQueue(database)
    kept = []
    while (item := queue.take(study_id, worker, 3600.0)) is not None:
        if item.id % 3 == 0:
            assert queue.fail(item, Failure.BUG, "planned")
            continue
        assert queue.assign_trial(item, item.id, {"epochs": 1}) is not None
        kept.append(item.id)
    database.close()
    return kept


@pytest.mark.slow
def test_eight_processes_take_exactly_the_budget(
    url: str, queue: WorkQueue, make_study: Callable[..., StoredStudy], processes: ProcessPoolExecutor
) -> None:
    study = make_study(budget=20)
    futures = [processes.submit(_take_all, url, study.id, f"w{n}") for n in range(PROCESSES)]
    kept = [item for future in futures for item in future.result(timeout=120)]
    assert len(kept) == len(set(kept)) == 20
    counts = queue.counts(study.id)[WorkKind.SEARCH]
    assert counts[WorkState.LEASED] == 20
    assert counts[WorkState.STORED] == counts[WorkState.QUEUED] == 0


def _take_and_store_all(url: str, study_id: int, worker: str) -> list[tuple[int, int]]:
    """Take and store items until there are none."""
    database = connect(url)
    queue = WorkQueue(database)
    adopted = []
    while (item := queue.take(study_id, worker, 3600.0)) is not None:
        assert queue.store(item, finished(value=item.id))
        adopted.append((item.id, item.attempt))
    database.close()
    return adopted


@pytest.mark.slow
def test_eight_processes_take_each_expired_item_once(
    url: str,
    queue: WorkQueue,
    database: Database,
    make_study: Callable[..., StoredStudy],
    processes: ProcessPoolExecutor,
) -> None:
    study = make_study(budget=30)
    lost = [
        take_assigned(queue, study, number) for number in range(30)
    ]  # leases that end in 1970, on the clock of the test
    futures = [processes.submit(_take_and_store_all, url, study.id, f"w{n}") for n in range(PROCESSES)]
    adopted = sorted(pair for future in futures for pair in future.result(timeout=120))
    assert adopted == [(item.id, 2) for item in lost]
    assert not any(queue.store(item, finished()) for item in lost)
    assert {record.work_id: record.value for record in TrialStore(database).records(study.id)} == {
        item.id: item.id for item in lost
    }
