"""The division of a deadline among search, confirmation and refits: a study may end early, never late."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.study_state.confirmation_schedule import Contender, confirmation_budget, next_step
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.study_state.study import read_study
from search.study_state.time_budget import (
    EXPORT_SECONDS,
    MARGIN,
    Costs,
    confirmations_in_time,
    is_time_for_trial,
    latest_end,
    measure_costs,
    refits_in_time,
)
from search.study_state.time_left import refits_before_deadline
from search.study_state.training_costs import (
    correction_factor,
    final_recipe,
    full_training_seconds,
    length_ratio,
    upper_quantile,
    wall_seconds,
)
from search.worker.deadline_guard import DeadlineGuard
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.records.trials import TrialStore
from storage.stores import Stores
from storage.values import TrialOutcome, TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec, load_study
from tests.search.small_study import work_on
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport

SPEC = load_study("quickstart")


def record(
    number: int, seconds: float, *, status: TrialStatus = TrialStatus.FINISHED, epochs_done: int = 6
) -> TrialRecord:
    return TrialRecord(
        id=number,
        work_id=number,
        study_id=1,
        kind=WorkKind.SEARCH,
        number=number,
        split=0,
        seed=0,
        recipe=SPEC.default_recipe(),
        machine={},
        note={},
        worker="w",
        attempt=1,
        status=status,
        failure=None,
        reason="",
        value=0.5,
        brier=0.5,
        ambiguity=0.0,
        temperature=1.0,
        value_se=0.1,
        mean_true_probability=0.5,
        epochs_done=epochs_done,
        seconds=seconds,
        finished=0.0,
    )


def with_final(**changes: int) -> StudySpec:
    return replace(SPEC, final=replace(SPEC.final, **changes))


class TestCosts:
    def test_longer_and_larger_trainings_take_longer(self) -> None:
        final = replace(SPEC.final, epochs=12, image_size=64)
        recipe = SPEC.default_recipe()
        assert length_ratio(recipe, final) == pytest.approx(2 * 4)
        assert length_ratio(recipe, SPEC.final) == 1.0
        assert final_recipe(recipe, final).to_flat() == {**recipe, "epochs": 12, "image_size": 64}

    def test_the_next_trial_is_predicted_by_an_upper_quantile(self) -> None:
        assert upper_quantile([]) is None
        assert upper_quantile([3.0]) == 3.0
        assert upper_quantile([float(n) for n in range(1, 21)]) == 18.0

    def test_incomplete_trials_are_extrapolated_until_one_has_finished(self) -> None:
        pruned = record(1, 4.0, status=TrialStatus.PRUNED, epochs_done=2)
        assert full_training_seconds([pruned]) == [12.0]
        assert full_training_seconds([pruned, record(0, 15.0)]) == [15.0]
        assert full_training_seconds([record(2, 0.0, status=TrialStatus.FAILED, epochs_done=0)]) == []

    def test_the_correction_is_the_ratio_of_measured_to_predicted_seconds(self) -> None:
        assert correction_factor([], []) == 1.0
        assert correction_factor([10.0, 10.0], [12.0, 18.0]) == 1.5

    def test_workers_share_the_work(self) -> None:
        assert wall_seconds(5, 10.0, 2) == 30.0
        assert wall_seconds(0, 10.0, 2) == 0.0


class TestDivision:
    def test_a_trial_a_first_round_and_the_refits_must_fit(self) -> None:
        records = [record(n, 100.0) for n in range(5)]
        costs = measure_costs(with_final(seeds=2), records, records, (), workers=1)
        assert (costs.trial, costs.final, costs.contenders, costs.refits) == (100.0, 100.0, 2, 2)
        follows = MARGIN * (100 + 2 * 100 + 2 * 100) + EXPORT_SECONDS
        assert is_time_for_trial(costs, now=1000.0, deadline=1000.0 + follows)
        assert not is_time_for_trial(costs, now=1000.1, deadline=1000.0 + follows)

    def test_after_few_trials_no_time_is_reserved_for_confirmation(self) -> None:
        records = [record(n, 100.0) for n in range(4)]
        costs = measure_costs(SPEC, records, records, (), workers=1)
        assert costs.contenders == 0 and costs.confirmation_wall == 0.0
        follows = MARGIN * 200 + EXPORT_SECONDS
        assert is_time_for_trial(costs, now=0.0, deadline=follows)
        assert not is_time_for_trial(costs, now=0.1, deadline=follows)

    def test_trials_that_keep_their_networks_need_no_refit_unless_the_export_is_longer(self) -> None:
        records = [record(n, 100.0) for n in range(2)]
        kept = measure_costs(SPEC, records, records, (), workers=1, kept=True)
        assert kept.refits == 0 and kept.refit_wall == EXPORT_SECONDS
        assert measure_costs(with_final(seeds=3), records, records, (), workers=1, kept=True).refits == 2
        assert measure_costs(with_final(epochs=20), records, records, (), workers=1, kept=True).refits == 1
        assert measure_costs(SPEC, records, (), (), workers=1, kept=True).refits == 1, "no trial may be exported"

    def test_the_whole_share_of_confirmation_is_reserved_if_it_exceeds_one_round(self) -> None:
        records = [record(n, 100.0) for n in range(100)]
        costs = measure_costs(SPEC, records, records, (), workers=2)
        assert costs.confirmation == pytest.approx(11 * 3 * 100.0), "at most all rounds of all finalists"
        assert costs.confirmation_wall == pytest.approx(MARGIN * costs.confirmation / 2)

    def test_refits_are_predicted_by_the_slowest_recipe_that_may_be_exported(self) -> None:
        records = [*(record(n, 10.0) for n in range(20)), record(20, 200.0)]
        costs = measure_costs(SPEC, records, [records[0], records[20]], (), workers=1)
        assert (costs.trial, costs.final) == (10.0, 200.0)

    def test_a_first_trial_may_begin_at_any_time_and_others_by_the_age_of_the_running_ones(self) -> None:
        nothing = measure_costs(SPEC, (), (), (), workers=4)
        assert is_time_for_trial(nothing, now=9_999.0, deadline=10_000.0)
        assert not is_time_for_trial(nothing, now=10_000.0, deadline=10_000.0)
        begun = measure_costs(SPEC, (), (), (), workers=4, under_way=400.0)
        assert is_time_for_trial(begun, now=400.0, deadline=1201.0)
        assert not is_time_for_trial(begun, now=400.0, deadline=1199.0)

    def test_how_many_confirmations_and_refits_fit(self) -> None:
        costs = Costs(workers=2, trial=10.0, final=10.0, finished=True, refits=2)
        deadline = 3 * MARGIN * 10 + EXPORT_SECONDS
        assert refits_in_time(costs, now=0.0, deadline=deadline + 0.01) == 6
        assert confirmations_in_time(costs, now=0.0, deadline=deadline + 0.01) == 4
        assert refits_in_time(costs, now=deadline, deadline=deadline) == 0
        assert confirmations_in_time(Costs(workers=2), now=0.0, deadline=1e9) == 0, "no training has ended"

    def test_a_running_trial_leaves_time_for_the_refits_of_its_own_recipe(self) -> None:
        costs = Costs(workers=1, trial=10.0, final=10.0, finished=True, contenders=2)
        first_round = MARGIN * 2 * 10
        quick = latest_end(costs, WorkKind.SEARCH, deadline=1000.0, export_seconds=10.0)
        slow = latest_end(costs, WorkKind.SEARCH, deadline=1000.0, export_seconds=100.0)
        assert quick == pytest.approx(1000 - first_round - MARGIN * 10 - EXPORT_SECONDS)
        assert slow == pytest.approx(1000 - first_round - MARGIN * 100 - EXPORT_SECONDS)
        assert latest_end(costs, WorkKind.CONFIRM, deadline=1000.0, export_seconds=10.0) == pytest.approx(
            quick + first_round
        )
        assert latest_end(costs, WorkKind.REFIT, deadline=1000.0, export_seconds=10.0) == math.inf
        assert (
            latest_end(replace(costs, finished=False), WorkKind.SEARCH, deadline=1.0, export_seconds=10.0) == math.inf
        )


@dataclass
class Simulation:
    """A study with simulated trainings and a simulated clock, scheduled by the rules of `time_budget`."""

    deadline: float
    workers: int
    spec: StudySpec
    ratio: float
    """Seconds of a training as it is exported, relative to its trial."""
    trials: list[float]
    """Seconds of the trials, repeated cyclically."""
    slowdowns: list[float]
    """Measured over predicted seconds of confirmations and refits, repeated cyclically."""
    records: list[TrialRecord] = field(default_factory=list)
    confirmations: list[TrialRecord] = field(default_factory=list)
    now: float = 0.0
    epochs: int = 6

    def costs(self, running: bool = False) -> Costs:
        best = sorted(self.records, key=lambda r: r.number or 0)[:3]
        under_way = self.now if running else 0.0
        return measure_costs(
            self.spec, self.records, best, self.confirmations, workers=self.workers, under_way=under_way
        )

    def search(self) -> None:
        numbers = count()
        free = self.workers
        events: list[tuple[float, int, int]] = []  # end of an epoch, trial, epoch
        while True:
            while free and is_time_for_trial(self.costs(bool(events)), now=self.now, deadline=self.deadline):
                number = next(numbers)
                heapq.heappush(events, (self.now + self.length(number) / self.epochs, number, 1))
                free -= 1
            if not events:
                return
            self.now, number, epoch = heapq.heappop(events)
            each = self.length(number) / self.epochs
            ends = self.now + (self.epochs - epoch) * each
            final = self.length(number) * self.ratio
            if epoch == self.epochs:
                self.records.append(record(number, self.length(number)))
            elif ends <= latest_end(self.costs(), WorkKind.SEARCH, deadline=self.deadline, export_seconds=final):
                heapq.heappush(events, (self.now + each, number, epoch + 1))
                continue
            free += 1

    def length(self, number: int) -> float:
        return self.trials[number % len(self.trials)]

    def confirm(self) -> None:
        costs = self.costs()
        number = max(0, costs.contenders - 1) if len(self.records) >= 5 else 0
        race = [Contender(number=r.number or 0, seconds=r.seconds * self.ratio) for r in self.records[: number + 1]]
        race = [replace(c, needed=place < 2) for place, c in enumerate(race)] if number else []
        while True:
            spent = sum(r.seconds for r in self.confirmations)
            budget_seconds = confirmation_budget(sum(r.seconds for r in self.records), self.spec.confirm.share)
            step = next_step(
                race,
                rounds=self.spec.confirm.rounds,
                budget_seconds=budget_seconds - spent,
                max_trainings=confirmations_in_time(self.costs(), now=self.now, deadline=self.deadline),
            )
            if not step.items:
                return
            took = {c.number: c.seconds * self.next_slowdown() for c in race}
            lanes = [self.now] * self.workers
            for n, split in step.items:
                begin = heapq.heappop(lanes)
                heapq.heappush(lanes, begin + took[n])
                self.confirmations.append(replace(record(n, took[n]), kind=WorkKind.CONFIRM, split=split))
            self.now = max(lanes)
            ran = dict(step.items)
            race = [replace(c, splits=c.splits | ({ran[c.number]} if c.number in ran else set())) for c in race]
            race.sort(key=lambda c: c.number)

    def next_slowdown(self) -> float:
        self.slowdowns.append(self.slowdowns.pop(0))
        return self.slowdowns[-1]

    def export(self) -> None:
        seeds = max(1, min(self.spec.final.seeds, refits_in_time(self.costs(), now=self.now, deadline=self.deadline)))
        exported = max(r.seconds for r in self.records[:3]) * self.ratio
        self.now += wall_seconds(seeds, exported * max(self.slowdowns), self.workers) + EXPORT_SECONDS


@pytest.mark.slow
@given(
    trials=st.lists(st.floats(20.0, 400.0), min_size=1, max_size=12),
    workers=st.integers(1, 5),
    longer=st.integers(1, 3),
    seeds=st.integers(1, 4),
    trials_in_deadline=st.floats(1.0, 60.0),
    slowdowns=st.lists(st.floats(0.9, 1.15), min_size=1, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_no_schedule_ends_late_or_wastes_most_of_its_time(
    trials: list[float], workers: int, longer: int, seeds: int, trials_in_deadline: float, slowdowns: list[float]
) -> None:
    spec = with_final(epochs=6 * longer, seeds=seeds)
    longest, deadline = max(trials), trials_in_deadline * float(np.mean(trials))
    simulation = Simulation(deadline, workers, spec, float(longer), trials, slowdowns)
    simulation.search()
    simulation.confirm()
    simulation.export()
    # Each worker begins its first trial before any training has ended.
    first = max(trials[n % len(trials)] for n in range(workers))
    least = first + MARGIN * longest * longer + EXPORT_SECONDS
    if least <= deadline:
        assert simulation.now <= deadline + 1e-6
    # Beyond the largest possible reserve, more than half of the time is used.
    reserve = MARGIN * longest * (2 + longer * (2 + math.ceil(seeds / workers))) + EXPORT_SECONDS
    if deadline >= 4 * reserve:
        assert simulation.now >= 0.5 * deadline


class TestAgainstADatabase:
    def test_after_the_deadline_no_trial_begins_but_refits_do(self, context: StudyContext, stores: Stores) -> None:
        assert not search_is_over(read_snapshot(stores, "colours"))
        stores.studies.set_deadline(context.study.id, stores.database.now() - 1.0)
        work_on(context)
        assert stores.trials.records(context.study.id) == []
        snapshot = read_snapshot(stores, "colours")
        assert search_is_over(snapshot) and not snapshot.in_time_to_confirm
        for kind in (WorkKind.CONFIRM, WorkKind.REFIT):
            stores.queue.add(context.study.id, kind, split=0, seed=0, recipe=context.spec.default_recipe())
        work_on(context)
        assert [record.kind for record in stores.trials.records(context.study.id)] == [WorkKind.REFIT]
        assert refits_before_deadline(stores, context.study) == 0

    def test_a_trial_that_would_end_too_late_is_released_and_not_taken_again(
        self, context: StudyContext, stores: Stores
    ) -> None:
        """A first trial was fast; the first epoch of the second one shows that it is slow."""
        stores.studies.set_budget(context.study.id, 1)
        work_on(context)
        stores.studies.set_budget(context.study.id, 3)
        stores.studies.set_deadline(context.study.id, stores.database.now() + 1000.0)
        study = read_study(stores, "colours")
        item = stores.queue.take(study.id, context.worker, 60.0)
        assert item is not None
        deadline_guard, recipe = DeadlineGuard(stores), Recipe.from_flat(context.spec.default_recipe())
        quick, slow = (report(seconds) for seconds in (1.0, 500.0))
        assert not deadline_guard.is_too_late(study, item, recipe, quick)
        assert deadline_guard.given_up(study) == set()
        assert deadline_guard.is_too_late(study, item, recipe, slow)
        assert not deadline_guard.is_too_late(study, replace(item, kind=WorkKind.REFIT), recipe, slow)
        assert not deadline_guard.is_too_late(study, item, recipe, replace(slow, epoch=3)), "at the last epoch"
        assert stores.queue.release(item)
        assert deadline_guard.given_up(study) == {item.id}
        assert WorkKind.SEARCH in deadline_guard.kinds_to_begin(study)
        other = stores.queue.take(study.id, context.worker, 60.0, skip=deadline_guard.given_up(study))
        assert isinstance(other, WorkItem) and other.id != item.id
        stores.studies.set_deadline(study.id, stores.database.now() + 9000.0)
        assert deadline_guard.given_up(read_study(stores, "colours")) == set(), "with more time it may be taken again"

    def test_a_worker_stops_after_the_epoch_at_which_time_runs_short(
        self, context: StudyContext, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def too_late(self: DeadlineGuard, name: str, item: WorkItem, recipe: Recipe, report: EpochReport) -> bool:
            asked.append(report.epoch)
            self._given_up[item.id] = deadline
            return report.epoch == 2

        deadline = stores.database.now() + 1e6
        stores.studies.set_deadline(context.study.id, deadline)
        stores.studies.set_budget(context.study.id, 1)
        with monkeypatch.context() as patch:
            patch.setattr(DeadlineGuard, "is_too_late", too_late)
            work_on(context)
        assert asked == [1, 2]
        assert stores.trials.records(context.study.id) == []
        work_on(context)
        (ended,) = stores.trials.records(context.study.id)
        assert (ended.epochs_done, ended.attempt) == (3, 2), "the next worker continues from the checkpoint"

    def test_trials_are_read_when_one_ends_and_not_after_every_epoch(
        self, context: StudyContext, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads: list[WorkKind | None] = []
        read = TrialStore.records

        def spying(store: TrialStore, study_id: int, **which: Any) -> list[TrialRecord]:
            reads.append(which["kind"])
            return read(store, study_id, **which)

        monkeypatch.setattr(TrialStore, "records", spying)
        deadline_guard, recipe = DeadlineGuard(stores), Recipe.from_flat(context.spec.default_recipe())
        stores.studies.set_deadline(context.study.id, stores.database.now() + 10_000.0)
        study = read_study(stores, "colours")

        def end_a_trial(number: int, seconds: float) -> None:
            item = stores.queue.take(study.id, context.worker, 60.0)
            assert item is not None
            named = stores.queue.assign_trial(item, number, recipe.to_flat())
            assert named is not None
            ended = TrialOutcome(
                status=TrialStatus.FINISHED, value=0.5, brier=0.5, ambiguity=0.0, epochs_done=3, seconds=seconds
            )
            assert stores.queue.store(named, ended)

        end_a_trial(0, 10.0)
        item = stores.queue.take(study.id, context.worker, 60.0)
        assert item is not None
        for _ in range(3):
            assert not deadline_guard.is_too_late(study, item, recipe, report(10.0))
            assert WorkKind.SEARCH in deadline_guard.kinds_to_begin(study)
        assert reads.count(WorkKind.SEARCH) == 1
        end_a_trial(1, 9000.0)
        assert deadline_guard.kinds_to_begin(study) == DeadlineGuard(stores).kinds_to_begin(study) == (WorkKind.REFIT,)
        assert deadline_guard.is_too_late(study, item, recipe, report(2000.0))

    @pytest.mark.slow
    def test_the_number_of_refits_that_fit_depends_on_the_trials(self, context: StudyContext, stores: Stores) -> None:
        work_on(context)
        assert refits_before_deadline(stores, context.study) is None
        seconds = max(r.seconds for r in stores.trials.records(context.study.id))
        stores.studies.set_deadline(context.study.id, stores.database.now() + EXPORT_SECONDS + 20 * seconds + 60.0)
        fitting = refits_before_deadline(stores, context.study)
        assert fitting is not None and fitting >= 15


def report(seconds: float) -> EpochReport:
    return EpochReport(
        epoch=1,
        epochs=3,
        true_class=np.zeros(1, np.float32),
        metric=0.5,
        mean_true_probability=0.5,
        fold_metrics=(0.5,),
        train_loss=1.0,
        seconds=seconds,
    )
