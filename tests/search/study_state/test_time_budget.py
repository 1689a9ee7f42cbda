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
    LEAST_EXPORT,
    LEAST_LENGTH,
    MARGIN,
    SHORTENED_MARGIN,
    Costs,
    confirmations_in_time,
    export_seconds,
    is_time_for_trial,
    is_time_for_whole_trial,
    latest_end,
    measure_costs,
    outline,
    refits_in_time,
)
from search.study_state.time_left import refits_before_deadline
from search.study_state.training_costs import (
    TrainingCost,
    correction_factor,
    device_of,
    final_recipe,
    full_training_seconds,
    hours_to_continue,
    length_ratio,
    passes,
    predicted_cost,
    predictions,
    upper_quantile,
    wall_seconds,
)
from search.worker.limits.deadline_guard import DeadlineGuard, device_name
from search.worker.limits.limit import OutOfTime
from search.worker.limits.shortened import shortened, shortened_cost, sufficient_size
from search.worker.limits.time_limit import TimeLimit
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.records.trials import TrialStore
from storage.stores import Stores
from storage.values import TOO_LATE_NOTE, TrialOutcome, TrialRecord, TrialStatus, WorkKind
from studies.load_study import load_study
from studies.spec import StudySpec
from tests.search.small_study import work_on
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, Verdict

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


def on_device(record: TrialRecord, device: str) -> TrialRecord:
    return replace(record, machine={"device": device})


def with_final(**changes: int) -> StudySpec:
    return replace(SPEC, final=replace(SPEC.final, **changes))


class TestHoursToContinue:
    def test_they_hold_four_of_the_longest_trainings(self) -> None:
        assert hours_to_continue([]) == 1
        assert hours_to_continue([record(0, 60.0)]) == 1
        assert hours_to_continue([record(0, 60.0), record(1, 3600.0), record(2, 901.0)]) == 4
        assert hours_to_continue([record(0, 901.0)]) == 2

    def test_a_training_that_the_deadline_ended_counts_with_all_its_epochs(self) -> None:
        epochs = int(SPEC.default_recipe()["epochs"])
        cut = record(0, 3600.0, status=TrialStatus.PRUNED, epochs_done=1)
        assert hours_to_continue([cut]) == 4 * epochs


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
        shortest = SHORTENED_MARGIN * LEAST_LENGTH * 100
        follows = shortest + MARGIN * (2 * 100 + 2 * 100) + EXPORT_SECONDS
        assert is_time_for_trial(costs, now=1000.0, deadline=1000.0 + follows)
        assert not is_time_for_trial(costs, now=1000.1, deadline=1000.0 + follows)
        whole = follows - shortest + MARGIN * 100
        assert is_time_for_whole_trial(costs, now=1000.0, deadline=1000.01 + whole)
        assert not is_time_for_whole_trial(costs, now=1000.1, deadline=1000.0 + whole)

    def test_after_few_trials_no_time_is_reserved_for_confirmation(self) -> None:
        records = [record(n, 100.0) for n in range(4)]
        costs = measure_costs(SPEC, records, records, (), workers=1)
        assert costs.contenders == 0 and costs.confirmation_wall == 0.0
        follows = SHORTENED_MARGIN * LEAST_LENGTH * 100 + MARGIN * 100 + EXPORT_SECONDS
        assert is_time_for_trial(costs, now=0.0, deadline=follows)
        assert not is_time_for_trial(costs, now=0.1, deadline=follows)

    def test_trials_that_keep_their_networks_need_no_refit_unless_the_export_is_longer(self) -> None:
        records = [record(n, 100.0) for n in range(2)]
        kept = measure_costs(SPEC, records, records, (), workers=1, kept=True)
        assert kept.refits == 0 and kept.refit_wall == EXPORT_SECONDS
        assert measure_costs(with_final(seeds=3), records, records, (), workers=1, kept=True).refits == 0, "few trials"
        more = [record(n, 100.0) for n in range(3)]
        assert measure_costs(with_final(seeds=3), more, more, (), workers=1, kept=True).refits == 2
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

    def test_a_first_trial_may_begin_until_half_of_the_time_for_the_export_is_left(self) -> None:
        nothing = measure_costs(SPEC, (), (), (), workers=4)
        assert is_time_for_trial(nothing, now=9_989.0, deadline=10_000.0)
        assert not is_time_for_trial(nothing, now=9_990.0, deadline=10_000.0)

    def test_refits_take_at_most_their_share_of_the_time(self) -> None:
        records = [record(n, 100.0) for n in range(3)]

        def refits(period: float, workers: int = 1, kept: bool = True, seeds: int = 9) -> int:
            spec = with_final(seeds=seeds, epochs=20)
            return measure_costs(spec, records, records, (), workers=workers, kept=kept, period=period).refits

        one = MARGIN * 100.0 * 20 / 6 / SPEC.final.share
        assert [refits(share * one) for share in (0.99, 1.01, 2.01)] == [0, 1, 2]
        assert refits(1.01 * one, workers=3) == 3, "three workers refit at the same time"
        assert refits(0.99 * one, kept=False) == 1, "without kept networks there would be nothing to export"
        assert refits(50 * one) == 9

    def test_further_seeds_compete_with_trials_by_expected_gain(self) -> None:
        """The gain of averaging falls with every training; that of trials falls with their number and spread."""

        def refits(spread: float, trials: int) -> int:
            scores = [0.7 + spread * (n % 5) for n in range(trials)]
            records = [replace(record(n, 100.0), value=v, value_se=0.0, brier=0.4) for n, v in enumerate(scores)]
            records = [replace(r, ambiguity=0.05) for r in records]
            return measure_costs(with_final(seeds=9), records, records[:1], (), workers=1, kept=True).refits

        assert refits(0.1, 5) == 0, "trials differ by a lot, so another one may be much better"
        assert refits(0.0001, 5) == 8, "all trials are alike"
        assert refits(0.01, 5) <= refits(0.01, 40), "the best of many trials is hard to beat"
        assert measure_costs(with_final(seeds=9), [record(0, 1.0)], (), (), workers=1, kept=True).refits == 1

    def test_costs_are_those_of_the_device_that_trains(self) -> None:
        slow = [on_device(record(n, 1000.0), "old GPU") for n in range(2)]
        fast = [on_device(record(n, 100.0), "new GPU") for n in range(2, 6)]

        def costs(device: str | None) -> Costs:
            return measure_costs(SPEC, [*slow, *fast], [slow[0], fast[0]], (), workers=2, device=device)

        assert (costs("new GPU").trial, costs("new GPU").final) == (100.0, 100.0)
        assert (costs("old GPU").trial, costs("old GPU").final) == (1000.0, 1000.0)
        assert costs("unknown").trial == 1000.0

    def test_the_shortest_useful_trial_has_half_the_length_of_the_longest_one(self) -> None:
        def shortest(*epochs: int) -> float:
            records = [
                replace(
                    record(n, 100.0 * count, epochs_done=count),
                    overhead=10.0,
                    recipe={**SPEC.default_recipe(), "epochs": count},
                )
                for n, count in enumerate(epochs)
            ]
            return measure_costs(SPEC, records, records, (), workers=1).shortest_trial

        assert [shortest(6), shortest(3), shortest(1), shortest(2, 6)] == [305.0, 205.0, 55.0, 305.0]

    def test_predictions_count(self) -> None:
        records = [replace(record(n, 100.0), overhead=50.0) for n in range(2)]
        costs = measure_costs(with_final(epochs=12), records, records, (), workers=1)
        assert (costs.trial, costs.final) == (150.0, 250.0), "twice the epochs, once the predictions"

    def test_the_export_of_a_longer_study_has_more_time(self) -> None:
        assert [export_seconds(period) for period in (60.0, 1000.0, 86400.0, math.inf)] == [20.0, 50.0, 180.0, 20.0]

    def test_the_plan_divides_the_time_among_the_stages(self) -> None:
        assert outline(measure_costs(SPEC, (), (), (), workers=1), now=0.0, deadline=100.0) is None
        costs = Costs(workers=2, trial=10.0, mean_trial=8.0, final=10.0, finished=True, contenders=3, confirmation=50.0)
        plan = outline(costs, now=100.0, deadline=400.0)
        assert plan is not None
        assert plan.export == 400.0 - EXPORT_SECONDS
        assert plan.refits == pytest.approx(plan.export - MARGIN * 10.0)
        assert plan.confirmation == pytest.approx(plan.refits - MARGIN * 50.0 / 2)
        assert plan.trials == math.floor((plan.confirmation - 100.0) * 2 / 8.0)

    def test_how_many_confirmations_and_refits_fit(self) -> None:
        costs = Costs(workers=2, workers_here=2, trial=10.0, final=10.0, finished=True, refits=2)
        deadline = 3 * MARGIN * 10 + EXPORT_SECONDS
        assert refits_in_time(costs, now=0.0, deadline=deadline + 0.01) == 6
        assert confirmations_in_time(costs, now=0.0, deadline=deadline + 0.01) == 4
        assert refits_in_time(costs, now=deadline, deadline=deadline) == 0
        assert confirmations_in_time(Costs(workers=2), now=0.0, deadline=1e9) == 0, "no training has ended"

    def test_a_running_trial_leaves_time_for_the_refits_of_its_own_recipe(self) -> None:
        costs = Costs(workers=1, trial=10.0, final=10.0, finished=True, contenders=2)
        first_round = MARGIN * 2 * 10
        quick = latest_end(costs, WorkKind.SEARCH, deadline=1000.0, final_seconds=10.0)
        slow = latest_end(costs, WorkKind.SEARCH, deadline=1000.0, final_seconds=100.0)
        assert quick == pytest.approx(1000 - first_round - MARGIN * 10 - EXPORT_SECONDS)
        assert slow == pytest.approx(1000 - first_round - MARGIN * 100 - EXPORT_SECONDS)
        assert latest_end(costs, WorkKind.CONFIRM, deadline=1000.0, final_seconds=10.0) == pytest.approx(
            quick + first_round
        )
        assert latest_end(costs, WorkKind.REFIT, deadline=1000.0, final_seconds=10.0) == 1000.0 - EXPORT_SECONDS
        first = replace(costs, finished=False)
        end = latest_end(first, WorkKind.SEARCH, deadline=1000.0, final_seconds=100.0)
        assert end == 1000.0 - EXPORT_SECONDS - MARGIN * 100.0, "its networks are not kept where the export is made"
        kept = replace(first, needed_refits=0)
        assert latest_end(kept, WorkKind.SEARCH, deadline=1000.0, final_seconds=100.0) == 1000.0 - EXPORT_SECONDS


class TestPredictedCosts:
    def test_trainings_of_the_same_backbone_size_and_device_count_alone(self) -> None:
        backbone = str(SPEC.default_recipe()["backbone"])

        def ran(seconds: float, device: str = "a", **changes: object) -> TrialRecord:
            trained = on_device(record(0, seconds), device)
            return replace(trained, overhead=seconds / 10, recipe={**SPEC.default_recipe(), **changes})

        records = [
            ran(60.0),
            ran(600.0, backbone="another"),
            ran(6000.0, "b"),
            ran(240.0, image_size=64),
        ]
        recipe = {**SPEC.default_recipe(), "image_size": 32}
        assert predicted_cost(records, recipe, "a") == TrainingCost(epoch=10.0, overhead=6.0)
        assert predicted_cost(records, recipe, "b") == TrainingCost(epoch=1000.0, overhead=600.0)
        assert predicted_cost(records, {**recipe, "image_size": 64}, "a") == TrainingCost(epoch=40.0, overhead=24.0)
        other_size = predicted_cost(records[:1], {**recipe, "image_size": 128}, "a")
        assert other_size == TrainingCost(epoch=160.0, overhead=96.0), "sixteen times as many pixels"
        assert predicted_cost(records, {**recipe, "backbone": "never trained"}, "a") is None
        assert backbone == recipe["backbone"]

    @given(
        epochs=st.integers(1, 50),
        size=st.sampled_from([32, 64, 128, 224]),
        epoch=st.floats(0.1, 1000.0),
        overhead=st.floats(0.0, 1000.0),
        seconds=st.floats(0.0, 10_000.0),
    )
    def test_a_shortened_recipe_fits_and_is_as_long_as_possible(
        self, epochs: int, size: int, epoch: float, overhead: float, seconds: float
    ) -> None:
        recipe = Recipe.from_flat({**SPEC.default_recipe(), "epochs": epochs, "image_size": size})
        cost = TrainingCost(epoch=epoch, overhead=overhead)
        shorter = shortened(recipe, cost, seconds)
        if shorter is None:
            assert cost.total(1) * (32 / size) ** 2 > seconds * (1 - 1e-9)
            return
        pixels = (shorter.image_size / size) ** 2
        assert pixels * cost.total(shorter.epochs) <= seconds * (1 + 1e-9)
        assert shortened_cost(recipe, cost, shorter).total(1) == pytest.approx(pixels * cost.total(1))
        assert shorter.replace({"epochs": epochs, "image_size": size}) == recipe
        assert shorter.image_size == size or shorter.image_size % 32 == 0
        larger = [other for other in (32, 64, 96, 128, 160, 192, 224) if shorter.image_size < other <= size]
        assert shorter.epochs == epochs or pixels * cost.total(shorter.epochs + 1) > seconds * (1 - 1e-9)
        if 2 * shorter.image_size > size:  # half of the epochs fit at no larger size
            assert all(
                (other / size) ** 2 * cost.total(math.ceil(epochs / 2)) > seconds * (1 - 1e-9) for other in larger
            )
        if 2 * shorter.image_size < size:  # not even one epoch fits at a larger size
            assert all((other / size) ** 2 * cost.total(1) > seconds * (1 - 1e-9) for other in larger)

    @given(epochs=st.integers(1, 50), size=st.sampled_from([32, 64, 128, 224]), seconds=st.floats(0.0, 10_000.0))
    def test_a_recipe_that_begins_at_its_probe_keeps_its_size_while_two_epochs_fit(
        self, epochs: int, size: int, seconds: float
    ) -> None:
        changes = {"epochs": epochs, "image_size": size, "init": "pretrained", "head": "probe", "norm": "frozen"}
        recipe = Recipe.from_flat({**SPEC.default_recipe(), **changes})
        cost = TrainingCost(epoch=100.0, overhead=50.0)
        shorter = shortened(recipe, cost, seconds, probed=True)
        sides = [other for other in (32, 64, 96, 128, 160, 192, 224) if 0.7 * size <= other <= size]
        enough = min(2, epochs)
        if shorter is None:
            assert cost.total(enough) * (min(sides) / size) ** 2 > seconds
            return
        pixels = (shorter.image_size / size) ** 2
        assert pixels * cost.total(shorter.epochs) <= seconds and shorter.image_size in sides
        assert all((o / size) ** 2 * cost.total(enough) > seconds for o in sides if o > shorter.image_size)
        assert shorter.epochs == epochs or pixels * cost.total(shorter.epochs + 1) > seconds
        assert shorter.replace({"epochs": epochs, "image_size": size}) == recipe

    @given(epochs=st.integers(1, 50), freeze=st.sampled_from([0.0, 0.5, 0.75]), seconds=st.floats(0.0, 10_000.0))
    def test_where_two_epochs_do_not_fit_layers_are_frozen_before_images_shrink(
        self, epochs: int, freeze: float, seconds: float
    ) -> None:
        changes = {"epochs": epochs, "image_size": 224, "init": "pretrained", "head": "probe", "norm": "frozen"}
        plain = Recipe.from_flat({**SPEC.default_recipe(), **changes, "freeze": freeze})
        recipe = plain.replace({"wise_ft": True})
        cost = TrainingCost(epoch=100.0, overhead=50.0)
        shorter = shortened(recipe, cost, seconds, probed=True)
        unprotected = shortened(plain, cost, seconds, probed=True)
        if shorter is None or shorter.freeze == freeze:
            assert shorter == (None if unprotected is None else unprotected.replace({"wise_ft": True}))
            assert freeze == 0.75 or shorter is None or shorter.image_size == 224
            return
        assert cost.total(min(2, epochs)) > seconds, "its own epochs come first"
        frozen = cost.frozen(recipe)
        assert shorter == recipe.replace({"freeze": 0.75, "epochs": shorter.epochs})
        assert frozen.total(shorter.epochs) <= seconds
        assert shortened_cost(recipe, cost, shorter) == frozen
        assert shorter.epochs == epochs or frozen.total(shorter.epochs + 1) > seconds

    def test_frozen_layers_are_not_passed_backward_and_predict_once(self) -> None:
        def ran(seconds: float, **changes: Any) -> TrialRecord:
            recipe = {**SPEC.default_recipe(), **changes}
            return replace(record(0, seconds), recipe=recipe, seconds=seconds, overhead=6.0, epochs_done=2)

        recipe = {**SPEC.default_recipe(), "freeze": 0.75}
        assert passes(0.0) == 1.0 and passes(1.0) == pytest.approx(1 / 3)
        assert predictions(0.0) == 1.0 and predictions(1.0) == pytest.approx(1 / 5)
        assert predicted_cost([ran(20.0)], recipe) == TrainingCost(epoch=5.0, overhead=pytest.approx(2.4))
        thawed = predicted_cost([ran(8.0, freeze=0.75)], SPEC.default_recipe())
        assert thawed == TrainingCost(epoch=8.0, overhead=pytest.approx(15.0)), "it is no shorter than it may be"
        measured = [ran(20.0), ran(8.0, freeze=0.75)]
        assert predicted_cost(measured, recipe) == TrainingCost(epoch=4.0, overhead=6.0), "its own are known"
        assert predicted_cost(measured, SPEC.default_recipe()) == TrainingCost(epoch=10.0, overhead=6.0)

    @given(
        head=st.sampled_from(["probe", "random"]),
        epochs=st.integers(1, 50),
        sufficient=st.sampled_from([96, 128, 192, 224]),
        seconds=st.floats(0.0, 10_000.0),
    )
    def test_sufficient_images_leave_time_for_all_epochs(
        self, head: str, epochs: int, sufficient: int, seconds: float
    ) -> None:
        changes = {"epochs": epochs, "image_size": 224, "init": "pretrained", "head": head, "norm": "frozen"}
        recipe = Recipe.from_flat({**SPEC.default_recipe(), **changes})
        cost = TrainingCost(epoch=100.0, overhead=50.0)
        shorter = shortened(recipe, cost, seconds, probed=True, sufficient=sufficient)
        otherwise = shortened(recipe, cost, seconds, probed=True)
        whole = [
            o for o in (96, 128, 160, 192, 224) if o >= sufficient and (o / 224) ** 2 * cost.total(epochs) <= seconds
        ]
        if sufficient < 224 and whole:
            assert shorter is not None
            assert (shorter.epochs, shorter.image_size) == (epochs, max(whole))
        elif shorter != otherwise:
            assert shorter is not None and shorter.image_size == sufficient < 224
            assert (sufficient / 224) ** 2 * cost.total(shorter.epochs + 1) > seconds
            least = math.ceil(epochs / 2) if head == "random" else min(2, epochs)
            assert shorter.epochs >= least


def test_the_sufficient_size_is_the_smallest_whose_probe_is_about_as_good() -> None:
    def probe(image_size: int, brier: float, backbone: str = "test_resnet") -> TrialRecord:
        recipe = {**SPEC.default_recipe(), "method": "linear_probe", "backbone": backbone, "image_size": image_size}
        return replace(record(image_size, 1.0), recipe=recipe, brier=brier)

    near = [probe(224, 0.2), probe(160, 0.24), probe(128, 0.24), probe(96, 0.3), probe(288, 0.1)]
    assert sufficient_size(near, "test_resnet", 224) == 128
    assert sufficient_size([*near, probe(64, 0.2, "test_vit")], "test_resnet", 224) == 128
    assert sufficient_size(near[1:], "test_resnet", 224) == 224, "its own size is not probed"
    assert sufficient_size([probe(224, 0.1), probe(128, 0.2)], "test_resnet", 224) == 224
    fine_tuned = replace(near[2], recipe={**(near[2].recipe or {}), "method": "fine_tune"})
    assert sufficient_size([near[0], fine_tuned], "test_resnet", 224) == 224


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

    @property
    def exportable(self) -> list[TrialRecord]:
        """The default recipe and all finalists that the study may have; trials rank by their numbers."""
        return sorted(self.records, key=lambda r: r.number or 0)[: 1 + self.spec.confirm.finalists]

    def costs(self) -> Costs:
        return measure_costs(
            self.spec, self.records, self.exportable, self.confirmations, workers=self.workers, period=self.deadline
        )

    def search(self) -> None:
        numbers = count()
        free = self.workers
        events: list[tuple[float, int, int, int]] = []  # end of an epoch, trial, epoch, number of epochs
        while True:
            while free and is_time_for_trial(self.costs(), now=self.now, deadline=self.deadline):
                number = next(numbers)
                epochs = self.epochs_in_time(number)
                if not epochs:
                    free = 0  # given up; the worker takes no other trial
                    break
                heapq.heappush(events, (self.now + self.length(number) / self.epochs, number, 1, epochs))
                free -= 1
            if not events:
                return
            self.now, number, epoch, epochs = heapq.heappop(events)
            each = self.length(number) / self.epochs
            if epoch == epochs:
                self.records.append(self.ended(number, epochs))
            elif self.now + (epochs - epoch) * each <= self.latest_end(number, epochs):
                heapq.heappush(events, (self.now + each, number, epoch + 1, epochs))
                continue
            free += 1

    def latest_end(self, number: int, epochs: int) -> float:
        final = self.length(number) * epochs / self.epochs * self.ratio
        return latest_end(self.costs(), WorkKind.SEARCH, deadline=self.deadline, final_seconds=final)

    def epochs_in_time(self, number: int) -> int:
        """The epochs of a trial that begins now; 0: it is not useful."""
        each = self.length(number) / self.epochs
        for epochs in range(self.epochs, 0, -1):
            if self.now + (MARGIN if epochs < self.epochs else 1.0) * epochs * each <= self.latest_end(number, epochs):
                return epochs if not self.records or epochs >= LEAST_LENGTH * self.epochs else 0
        return 0

    def ended(self, number: int, epochs: int) -> TrialRecord:
        shorter = record(number, self.length(number) * epochs / self.epochs, epochs_done=epochs)
        return replace(shorter, recipe={**(shorter.recipe or {}), "epochs": epochs})

    def length(self, number: int) -> float:
        return self.trials[number % len(self.trials)]

    def confirm(self) -> None:
        costs = self.costs()
        race = [Contender(number=r.number or 0, seconds=r.seconds * self.ratio) for r in self.exportable]
        race = [replace(c, needed=place < 2) for place, c in enumerate(race[: costs.contenders])]
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
        if not self.records:
            return
        exported = max(r.seconds for r in self.exportable) * self.ratio
        self.now += wall_seconds(seeds, exported * max(self.slowdowns), self.workers) + self.costs().export


@pytest.mark.slow
@given(
    trials=st.lists(st.floats(20.0, 400.0), min_size=1, max_size=12),
    workers=st.integers(1, 5),
    longer=st.integers(1, 3),
    seeds=st.integers(1, 4),
    trials_in_deadline=st.floats(1.0, 60.0),
    slowdowns=st.lists(st.floats(0.9, 1.15), min_size=1, max_size=5),
)
@settings(max_examples=75)
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
    least = first + MARGIN * longest * longer + export_seconds(deadline)
    if least <= deadline:
        assert simulation.now <= deadline + 1e-6
    # Beyond the largest possible reserve, more than half of the time is used.
    reserve = MARGIN * longest * (2 + longer * (2 + math.ceil(seeds / workers))) + export_seconds(deadline)
    if deadline >= 4 * reserve:
        assert simulation.now >= 0.5 * deadline


class TestAgainstADatabase:
    def test_after_the_deadline_only_refits_begin(self, context: StudyContext, stores: Stores) -> None:
        assert not search_is_over(read_snapshot(stores, "colours"))
        stores.studies.set_deadline(context.study.id, stores.database.now() - 1.0)
        work_on(context)
        assert stores.trials.records(context.study.id) == []
        snapshot = read_snapshot(stores, "colours")
        assert search_is_over(snapshot) and not snapshot.in_time_to_confirm
        for kind in (WorkKind.CONFIRM, WorkKind.REFIT):
            stores.queue.add(context.study.id, kind, split=0, seed=0, recipe=context.spec.default_recipe())
        work_on(context)
        assert [record.kind for record in stores.trials.records(context.study.id)] == [WorkKind.REFIT], "as requested"
        assert refits_before_deadline(stores, context.study) == 0

    def test_shortly_before_the_deadline_no_refit_begins(self, context: StudyContext, stores: Stores) -> None:
        study = read_study(stores, "colours")
        stores.queue.add(study.id, WorkKind.REFIT, split=0, seed=0, recipe=context.spec.default_recipe())
        guard = DeadlineGuard(stores)
        stores.studies.set_deadline(study.id, stores.database.now() + EXPORT_SECONDS + 100.0)
        assert WorkKind.REFIT in guard.kinds_to_begin(read_study(stores, "colours"))
        stores.studies.set_deadline(study.id, stores.database.now() + EXPORT_SECONDS - 1.0)
        assert guard.kinds_to_begin(read_study(stores, "colours")) == (WorkKind.SEARCH,), "nothing has finished"
        stores.studies.set_deadline(study.id, stores.database.now() + LEAST_EXPORT * EXPORT_SECONDS - 1.0)
        assert guard.kinds_to_begin(read_study(stores, "colours")) == ()

    def test_a_worker_goes_by_the_costs_of_its_own_device(self, context: StudyContext, stores: Stores) -> None:
        study = context.study
        for number, (device, seconds) in enumerate([("new GPU", 10.0), ("old GPU", 10_000.0)]):
            item = stores.queue.take(study.id, context.worker, 60.0)
            assert item is not None
            named = stores.queue.assign_trial(item, number, context.spec.default_recipe())
            assert named is not None
            ended = TrialOutcome(
                status=TrialStatus.FINISHED,
                value=0.5,
                brier=0.5,
                ambiguity=0.0,
                epochs_done=3,
                seconds=seconds,
                machine={"device": device},
            )
            assert stores.queue.store(named, ended)
        stores.studies.set_deadline(study.id, stores.database.now() + EXPORT_SECONDS + 1000.0)
        begins = {
            d: DeadlineGuard(stores, d).kinds_to_begin(read_study(stores, "colours")) for d in ("new GPU", "old GPU")
        }
        assert WorkKind.SEARCH in begins["new GPU"] and WorkKind.SEARCH not in begins["old GPU"]

    def test_the_search_is_over_once_the_first_trial_is_given_up(self, context: StudyContext, stores: Stores) -> None:
        study = context.study
        stores.studies.set_deadline(study.id, stores.database.now() + 1000.0)
        item = stores.queue.take(study.id, context.worker, 60.0)
        assert item is not None
        item = stores.queue.assign_trial(item, 0, context.spec.default_recipe())
        assert item is not None
        deadline, now = read_study(stores, "colours").deadline, stores.database.now()
        assert not search_is_over(read_snapshot(stores, "colours"))
        for note, over in (
            ({}, False),
            ({TOO_LATE_NOTE: [deadline, now, 0]}, False),  # another worker may take it now
            ({TOO_LATE_NOTE: [deadline, now - 60.0, 1]}, False),  # a trial has been undone since
            ({TOO_LATE_NOTE: [now + 500.0, now - 60.0, 0]}, False),  # of another deadline
            ({TOO_LATE_NOTE: "?"}, False),
            ({TOO_LATE_NOTE: [deadline, now - 60.0, 0]}, True),
        ):
            assert stores.queue.release(item, note=note)
            assert search_is_over(read_snapshot(stores, "colours")) is over, note
            taken = stores.queue.take(study.id, context.worker, 60.0)
            assert isinstance(taken, WorkItem) and taken.id == item.id
            assert not search_is_over(read_snapshot(stores, "colours")), "a worker trains it"
            item = taken

    def test_a_worker_says_which_trial_it_gives_up(
        self, context: StudyContext, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fit(self: TimeLimit, recipe: Recipe) -> None:
            self.missed = read_study(stores, "colours").deadline
            raise OutOfTime("too slow")

        monkeypatch.setattr(TimeLimit, "fit", fit)
        stores.studies.set_deadline(context.study.id, stores.database.now() + 1000.0)
        study, before = read_study(stores, "colours"), stores.database.now()
        work_on(context)
        (item,) = stores.queue.waiting(study.id, WorkKind.SEARCH)
        deadline, moment, ended = item.note[TOO_LATE_NOTE]
        assert (deadline, ended) == (study.deadline, 0)
        assert before <= moment <= stores.database.now()

    def test_a_device_has_the_name_that_its_trainings_record(self, context: StudyContext, stores: Stores) -> None:
        stores.studies.set_budget(context.study.id, 1)
        work_on(context)
        (trained,) = stores.trials.records(context.study.id)
        assert device_name(context.device) == device_of(trained.machine) != ""

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
        guard, recipe = DeadlineGuard(stores), Recipe.from_flat(context.spec.default_recipe())
        quick, slow = (report(seconds) for seconds in (1.0, 500.0))
        limit = guard.limit(study, item, lambda: False)
        assert limit.after_epoch(recipe, quick) is Verdict.CONTINUE
        assert guard.given_up(study) == set()
        assert limit.after_epoch(recipe, replace(slow, epoch=3)) is Verdict.CONTINUE, "at the last epoch"
        assert limit.after_epoch(recipe, slow) is Verdict.STOP
        assert guard.given_up(study) == {item.id}
        assert stores.queue.release(item)
        assert WorkKind.SEARCH in guard.kinds_to_begin(study)
        other = stores.queue.take(study.id, context.worker, 60.0, skip=guard.given_up(study))
        assert isinstance(other, WorkItem) and other.id != item.id
        stores.studies.set_deadline(study.id, stores.database.now() + 9000.0)
        assert guard.given_up(read_study(stores, "colours")) == set(), "with more time it may be taken again"

    def test_a_worker_stops_after_the_epoch_at_which_time_runs_short(
        self, context: StudyContext, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def after_epoch(limit: TimeLimit, recipe: Recipe, report: EpochReport) -> Verdict:
            asked.append(report.epoch)
            limit.missed = deadline
            return Verdict.STOP if report.epoch == 2 else Verdict.CONTINUE

        deadline = stores.database.now() + 1e6
        stores.studies.set_deadline(context.study.id, deadline)
        stores.studies.set_budget(context.study.id, 1)
        with monkeypatch.context() as patch:
            patch.setattr(TimeLimit, "after_epoch", after_epoch)
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
        guard, recipe = DeadlineGuard(stores), Recipe.from_flat(context.spec.default_recipe())
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
        limit = guard.limit(study, item, lambda: False)
        for _ in range(3):
            assert limit.after_epoch(recipe, report(10.0)) is Verdict.CONTINUE
            assert WorkKind.SEARCH in guard.kinds_to_begin(study)
        assert reads == [WorkKind.SEARCH]
        end_a_trial(1, 19_000.0)
        assert WorkKind.SEARCH not in guard.kinds_to_begin(study)
        assert guard.kinds_to_begin(study) == DeadlineGuard(stores).kinds_to_begin(study)
        assert limit.after_epoch(recipe, report(6000.0)) is Verdict.STOP

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
