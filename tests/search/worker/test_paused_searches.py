"""Searches whose trials pause at rungs: budget, promotion, adoption, homes, stops and the end of the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from search.report.status import show_status
from search.runtime.disk import GIB, UNTOUCHED, tidy
from search.runtime.signals import StopSignals
from search.study_setup.create_study import create_study
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import running_work, search_is_over
from search.study_state.time_left import read_ended
from search.tuning.probing.sampler import ProbedSampler
from search.tuning.promotion import Promotion
from search.tuning.restore_optuna import restore_if_gone
from search.tuning.stagnation import stop_if_stagnant
from search.tuning.successive_halving import SuccessiveHalving
from search.worker.lease import LEASE
from search.worker.loop import work
from search.worker.pausing import end_all, end_when_over
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.workflow.control import stop
from storage.queue.items import RungValues, WorkItem
from storage.queue.work_queue import WorkQueue
from storage.stores import Stores, open_stores
from storage.values import StudyState, TrialOutcome, TrialRecord, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.small_study import make_context, study_plan, work_on
from trainer.recipe.recipe import Recipe
from trainer.training.cross_validation import cross_validate
from trainer.training.lockstep import Lockstep
from trainer.training.results import CVResult, Verdict

Open = Callable[..., StudyContext]
PROMOTION = ("search.pruner=promotion", "search.reduction_factor=2", "search.last_rung=1.0", "recipe.epochs=4")
"""Rungs after epochs 1 and 2 of 4, at which one of two trials goes on."""


@pytest.fixture
def open_context(stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path) -> Iterator[Open]:
    """Opens a worker's context of the study, in a home of its own if asked."""
    stored = None
    opened: list[StudyContext] = []

    def make(worker: str = "worker-a", home: str = "home", budget: int | None = 8, *overrides: str) -> StudyContext:
        nonlocal stored
        stored = stored or create_study(
            stores, study_plan(study_file, competition_folder, *PROMOTION, *overrides, budget=budget)
        )
        opened.append(make_context(stores, stored, competition_folder, tmp_path / home, worker))
        return opened[-1]

    yield make
    for context in opened:
        context.loader.close()


class Obedient(Promotion):
    """A rule that promotes the trials in `good` from their rungs, however they score."""

    def __init__(self) -> None:
        super().__init__(SuccessiveHalving(reduction_factor=2))
        self.good: set[tuple[int, int | None]] = set()
        """Pairs of a number and an epoch."""

    def choose(
        self,
        trials: Sequence[RungValues],
        homes: Collection[str | None],
        skip: Collection[int] = (),
        *,
        at_least: int = 0,
    ) -> int | None:
        good = [t for t in trials if (t.number, t.paused_after) in self.good and t.home in homes]
        return good[0].work_id if good else None

    def hopeless(self, trials: Sequence[RungValues], budget: int | None) -> set[int]:
        return set()


def obey(*contexts: StudyContext) -> Obedient:
    """Replace the rule of contexts."""
    rule = Obedient()
    for context in contexts:
        context.__dict__["promotion"] = rule
    return rule


def take(context: StudyContext) -> WorkItem | None:
    home, rule = context.home.identity(), context.promotion
    assert rule is not None
    queue = context.stores.queue
    return queue.take(
        context.study.id, context.worker, LEASE, home=home, promote=lambda trials: rule.choose(trials, {home})
    )


def run_next(context: StudyContext) -> WorkItem:
    item = take(context)
    assert item is not None
    run_item(context, item, lambda: False)
    return item


def pause_trials(context: StudyContext, count: int) -> None:
    """Run trial 0, and ``count`` trials that pause at the first rung."""
    for _ in range(count + 1):
        run_next(context)
    assert [record.epochs_done for record in context.stores.trials.paused(context.study.id)] == [1] * count


def undisturbed(context: StudyContext, record: TrialRecord) -> CVResult:
    recipe = Recipe.from_flat(record.recipe or {})
    return cross_validate(
        recipe,
        context.training_data(recipe, record.split),
        metric=context.study.metric,
        seed=record.seed,
        device="cpu",
        on_epoch=lambda report: Verdict.CONTINUE,
        checkpoint=None,
        loader=context.loader,
    )


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_search_uses_its_budget_exactly_and_leaves_nothing_paused(open_context: Open) -> None:
    context = open_context()
    stores, study_id = context.stores, context.study.id
    work_on(context)
    records = stores.trials.records(study_id)
    assert sorted(record.number or 0 for record in records) == list(range(8))
    trials = context.optuna_study.get_trials()
    assert [trial.number for trial in trials] == list(range(8))
    states = {TrialStatus.FINISHED: TrialState.COMPLETE, TrialStatus.PRUNED: TrialState.PRUNED}
    assert {r.number: states[r.status] for r in records} == {t.number: t.state for t in trials}
    for record in records:
        reported = trials[record.number or 0].intermediate_values
        assert (
            sorted(reported)
            == [c.epoch for c in stores.trials.curves(record.id)]
            == [*range(1, record.epochs_done + 1)]
        )
    ends = Counter(record.epochs_done for record in records)
    assert set(ends) <= {1, 2, 4}, "trials end at rungs, or finish"
    assert ends[1] >= 2 and ends[4] >= 2, "the worst stay at the first rung; not only the default recipe finishes"
    assert stores.queue.count_paused(study_id) == 0 and not stores.queue.unreported(study_id)
    assert context.artifacts.checkpoints(context.study.name) == [], "ended trials need no checkpoint"
    work_on(context)
    assert len(stores.trials.records(study_id)) == 8, "a second run finds no work"


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_trial_that_pauses_and_is_promoted_equals_an_uninterrupted_one(open_context: Open) -> None:
    first, second = open_context("worker-a"), open_context("worker-b")
    rule = obey(first, second)
    stores, study_id = first.stores, first.study.id
    pause_trials(first, 2)
    for context, attempt, epochs in ((second, 2, 2), (first, 3, 4)):
        rule.good = {(1, epochs // 2)}
        item = run_next(context)
        assert (item.trial_number, item.attempt) == (1, attempt)
        known = [*stores.trials.paused(study_id), *stores.trials.records(study_id)]
        [record] = [record for record in known if record.number == 1]
        assert (record.epochs_done, record.worker) == (epochs, context.worker)
    assert record.status is TrialStatus.FINISHED
    again = undisturbed(first, record)
    np.testing.assert_array_equal(stores.trials.prediction(record.id, "oof"), again.oof)
    np.testing.assert_array_equal(stores.trials.prediction(record.id, "test"), again.test)
    curves = stores.trials.curves(record.id)
    assert [c.train_loss for c in curves] == [report.train_loss for report in again.reports]
    trial = first.optuna_study.get_trials()[1]
    assert trial.state is TrialState.COMPLETE
    assert list(trial.intermediate_values.values()) == [r.mean_true_probability for r in again.reports]
    assert len(first.optuna_study.get_trials()) == 3, "no trial was asked for twice"


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_kill_between_checkpoint_and_pause_neither_repeats_the_epoch_nor_passes_the_rung(
    open_context: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, other = open_context(), open_context("worker-b")
    obey(context, other)
    run_next(context)
    with monkeypatch.context() as patched:

        def killed(*arguments: object) -> bool:
            raise KeyboardInterrupt

        patched.setattr(WorkQueue, "pause", killed)
        with pytest.raises(KeyboardInterrupt):
            run_next(context)
    context.stores.recovery.expire_worker("worker-a")
    trained: list[int] = []
    monkeypatch.setattr(Lockstep, "train_epoch", lambda run, epoch: trained.append(epoch))
    item = run_next(other)
    assert (item.trial_number, item.attempt) == (1, 2), "adopted"
    [record] = context.stores.trials.paused(context.study.id)
    assert (record.number, record.epochs_done, record.worker) == (1, 1, "worker-b")
    assert trained == []


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_a_kill_after_promotion_leaves_the_trial_to_the_next_worker(open_context: Open) -> None:
    context, other = open_context(), open_context("worker-b")
    rule = obey(context, other)
    pause_trials(context, 2)
    rule.good = {(2, 1)}
    item = take(context)
    assert item is not None and (item.trial_number, item.attempt) == (2, 2)
    context.stores.recovery.expire_worker("worker-a")
    adopted = run_next(other)
    assert (adopted.id, adopted.attempt, adopted.trial_number) == (item.id, 3, 2)
    paused = {record.number: record.epochs_done for record in context.stores.trials.paused(context.study.id)}
    assert paused == {1: 1, 2: 2}, "trial 2 has passed the first rung and pauses at the second"
    assert len(context.optuna_study.get_trials()) == 3


def test_a_promoted_trial_without_its_checkpoint_starts_over_and_passes_its_rung(open_context: Open) -> None:
    context = open_context()
    rule = obey(context)
    pause_trials(context, 1)
    rule.good = {(1, 1)}
    [checkpoint] = context.artifacts.checkpoints(context.study.name)
    checkpoint.path.unlink()
    run_next(context)
    [record] = context.stores.trials.paused(context.study.id)
    assert (record.number, record.epochs_done) == (1, 2)


def test_a_worker_of_another_home_promotes_no_trial_whose_checkpoint_it_cannot_reach(open_context: Open) -> None:
    here, there = open_context(), open_context("worker-b", "other-home")
    rule = obey(here, there)
    pause_trials(here, 2)
    rule.good = {(1, 1), (2, 1)}
    item = take(there)
    assert item is not None and item.trial_number is None, "a new trial"
    mine = take(here)
    assert mine is not None and mine.trial_number == 1


def test_two_workers_of_two_homes_use_the_budget_exactly(open_context: Open) -> None:
    first, second = open_context(), open_context("worker-b", "other-home")
    signals = StopSignals()
    for context in (first, second, first, second):
        run_next(context)
    for context in (second, first):
        work(context.stores, lambda study, own=context: own, signals, home=context.home, only=context.study.stored)  # type: ignore[misc]
    records = first.stores.trials.records(first.study.id)
    assert sorted(record.number or 0 for record in records) == list(range(8))
    assert all(trial.state.is_finished() for trial in first.optuna_study.get_trials())


def test_a_stop_request_at_a_rung_pauses_and_the_trial_stays_where_it_is(open_context: Open) -> None:
    context = open_context()
    obey(context)
    run_next(context)
    item = take(context)
    assert item is not None
    run_item(context, item, lambda: True)
    [record] = context.stores.trials.paused(context.study.id)
    assert (record.number, record.epochs_done) == (1, 1)


def test_a_stopped_search_is_over_and_its_paused_trials_end_as_pruned(open_context: Open) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 2)
    stores, name = context.stores, context.study.name
    assert not search_is_over(read_snapshot(stores, name))
    assert running_work(stores, read_snapshot(stores, name)) in ("", "workers are starting")
    assert read_snapshot(stores, name).trials_paused == 2
    stores.studies.set_state(context.study.id, StudyState.STOPPED)
    assert search_is_over(read_snapshot(stores, name))
    end_all(stores, context.study, context.home)
    statuses = [record.status for record in stores.trials.records(context.study.id)]
    assert statuses == [TrialStatus.FINISHED, TrialStatus.PRUNED, TrialStatus.PRUNED]
    assert stores.queue.count_paused(context.study.id) == 0
    assert all(trial.state.is_finished() for trial in context.optuna_study.get_trials())
    assert context.artifacts.checkpoints(name) == []


def test_paused_trials_wait_while_the_search_may_go_on(open_context: Open) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 2)
    end_when_over(context)
    assert context.stores.queue.count_paused(context.study.id) == 2, "the budget is not used up"
    context.stores.studies.set_state(context.study.id, StudyState.PAUSED)
    end_when_over(context)
    assert context.stores.queue.count_paused(context.study.id) == 2, "a paused study keeps its paused trials"


def test_trials_paused_in_a_home_without_workers_end_with_the_search(open_context: Open) -> None:
    gone, alive = open_context(budget=3), open_context("worker-b", "other-home")
    rule = obey(gone, alive)
    pause_trials(gone, 2)
    rule.good = {(1, 1)}
    work_on(alive)
    records = gone.stores.trials.records(gone.study.id)
    assert {record.number: record.status for record in records} == {
        0: TrialStatus.FINISHED,
        1: TrialStatus.PRUNED,
        2: TrialStatus.PRUNED,
    }


def test_the_time_of_paused_trials_counts_in_the_costs_of_the_study(open_context: Open) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 2)
    ended = read_ended(context.stores, context.study.id)
    assert len(ended.paused) == 2
    assert [record.number for record in ended.measured] == [0, 1, 2]
    assert context.stores.trials.count(context.study.id, WorkKind.SEARCH) == len(ended.trials) == 1


def test_a_trial_that_can_no_longer_be_promoted_ends_during_the_search(open_context: Open) -> None:
    context = open_context(budget=4)
    while True:
        run_next(context)
        reached = [t for t in context.stores.queue.rung_values(context.study.id) if 1 in t.values]
        if len(reached) == 4:
            break
    worst = sorted(reached, key=lambda trial: (-(trial.values[1] or 0.0), trial.number))[2:]
    ended = {record.number for record in context.stores.trials.records(context.study.id)}
    assert {trial.number for trial in worst if trial.number} <= ended | {
        t.number for t in reached if t.paused_after is None
    }
    assert all(t.paused_after is None for t in worst), "two of four go on, so the other two have ended"


def test_a_paused_trial_is_restored_with_its_scores_if_optunas_study_was_deleted(open_context: Open, url: str) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 1)
    before = context.optuna_study.get_trials()[1]
    other = open_stores(url)
    optuna.delete_study(study_name=context.study.name, storage=other.optuna_storage)
    assert restore_if_gone(other, context.study.stored)
    restored = other.optuna_study(context.study.name).get_trials()[1]
    assert (restored.state, restored.intermediate_values) == (TrialState.RUNNING, before.intermediate_values)
    assert restored.params == before.params
    other.database.close()


def test_over_the_quota_the_worst_paused_trials_end(open_context: Open, caplog: pytest.LogCaptureFixture) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 3)
    stores, name = context.stores, context.study.name
    order = sorted(stores.queue.rung_values(context.study.id), key=lambda trial: trial.values[1] or 0.0)
    paused = [trial.number for trial in order if trial.paused_after is not None]
    checkpoints = context.artifacts.checkpoints(name)
    largest = max(checkpoint.size for checkpoint in checkpoints)
    later = lambda: checkpoints[0].modified + 10 * UNTOUCHED  # noqa: E731
    assert tidy(stores, context.home, quota=3 * largest / GIB, now=later) == 0
    assert tidy(stores, context.home, quota=1.5 * largest / GIB, now=later) == 2
    assert "ends as pruned" in caplog.text
    assert [record.number for record in stores.trials.paused(context.study.id)] == paused[2:]
    ended = {r.number for r in stores.queue.unreported(context.study.id)}
    assert ended == set(paused[:2]), "the next sweep reports them"
    assert len(context.artifacts.checkpoints(name)) == 1


def test_status_shows_paused_trials_and_stop_ends_them(
    open_context: Open, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = open_context()
    obey(context)
    pause_trials(context, 2)
    show_status(None, url, context.home.root)
    assert "2 trials are paused; the best of them continue" in " ".join(capsys.readouterr().out.split())
    context.stores.studies.set_deadline(context.study.id, context.stores.database.now() - 1.0)
    show_status(None, url, context.home.root)
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 trials are paused; the deadline has passed" in shown and "--hours +1" in shown
    assert "continue with" not in shown and "best of them continue" not in shown
    stop(None, url)
    assert context.stores.queue.count_paused(context.study.id) == 0
    show_status(None, url, context.home.root)
    shown = capsys.readouterr().out
    assert "are paused" not in shown and shown.count("after 1 epoch") == 2


def test_patience_counts_paused_trials_and_waits_for_those_that_can_be_promoted(open_context: Open) -> None:
    context = open_context("worker-a", "home", 30, "search.patience=2", "search.reduction_factor=3")
    run_next(context)
    queue, study_id, name = context.stores.queue, context.study.id, context.study.name
    [default] = [trial.values[1] or 0.0 for trial in queue.rung_values(study_id)]

    def pause(number: int, value: float) -> None:
        item = queue.take(study_id, "w", LEASE)
        assert item is not None
        assigned = queue.assign_trial(item, number, context.spec.default_recipe())
        assert assigned is not None
        reached = RungValues(
            work_id=item.id, number=number, epochs=4, values={1: value}, paused_after=1, home="anywhere"
        )
        assert queue.pause(assigned, reached, TrialOutcome(status=TrialStatus.PRUNED, epochs_done=1))

    pause(1, default - 0.1)
    pause(2, default + 0.1)
    stop_if_stagnant(context.stores, name)
    assert context.stores.studies.state(study_id) is StudyState.RUNNING, "trial 2 is the best of three"
    pause(3, default - 0.1)
    queue.end_paused(study_id, lambda trials: {t.work_id for t in trials if t.number == 2})
    stop_if_stagnant(context.stores, name)
    assert context.stores.studies.state(study_id) is StudyState.STOPPED


def test_the_sampler_sees_paused_trials_as_pruned() -> None:
    study = optuna.create_study(direction="maximize")
    seen: list[tuple[int, str]] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            asked = study._get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED), use_cache=True)
            seen.extend((other.number, other.state.name) for other in asked)
            return {}

    paused, fresh, ended = study.ask(), study.ask(), study.ask()
    paused.report(0.5, 1)
    study.tell(ended, 0.7)
    for pausing in (False, True):
        seen.clear()
        ProbedSampler(Watching(), dict, seed=0, pausing=pausing).sample_relative(study, study.get_trials()[1], {})
        assert seen == [*[(paused.number, "PRUNED")] * pausing, (ended.number, "COMPLETE")]
    assert study.get_trials()[paused.number].state is TrialState.RUNNING, "only the sampler's copy is changed"
    assert fresh.number == 1
