"""The rule of promotion: which paused trial continues, and which ones never can."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.tuning.promotion import ALL, AT_END, Promotion
from search.tuning.successive_halving import SuccessiveHalving
from storage.queue.items import RungValues

HOME = "here"


def rule(factor: int = 3, startup: int = 2, last_rung: float = 1.0) -> Promotion:
    return Promotion(SuccessiveHalving(reduction_factor=factor, startup_trials=startup, last_rung=last_rung))


def trial(
    number: int, *values: float | None, paused: bool = True, epochs: int = 12, home: str | None = HOME
) -> RungValues:
    """A trial with ``values`` at the rungs 1, 3, 9 ...; it is paused at the last of them."""
    rungs = dict(zip((1, 3, 9), values, strict=False))
    return RungValues(
        work_id=100 + number,
        number=number,
        epochs=epochs,
        values=rungs,
        paused_after=max(rungs) if paused else None,
        home=home,
    )


def chosen(trials: Sequence[RungValues], *, at_least: int = 0, factor: int = 3) -> int | None:
    found = rule(factor).choose(trials, {HOME}, at_least=at_least)
    return None if found is None else found - 100


def test_one_of_three_goes_on_and_the_best_does() -> None:
    trials = [trial(1, 0.1), trial(2, 0.3), trial(3, 0.2)]
    assert chosen(trials[:2]) is None, "of two trials none is among the best third"
    assert chosen(trials) == 2


def test_a_promoted_trial_keeps_its_place() -> None:
    trials = [trial(1, 0.1), trial(2, 0.3, paused=False), trial(3, 0.2)]
    assert chosen(trials) is None
    assert chosen([*trials, trial(4, 0.25)]) is None, "one of four goes on, and has done so"
    assert chosen([*trials, trial(4, 0.4)]) == 4, "a better one that comes later goes on as well"
    assert chosen([*trials, trial(4, 0.25), trial(5, 0.0), trial(6, 0.0)]) == 4, "two of six go on"


def test_the_higher_rung_comes_first_and_then_the_better_value() -> None:
    low = [trial(n, 0.9 - n / 100) for n in range(1, 4)]
    high = [trial(n, 0.95, 0.1 * n) for n in range(4, 7)]
    assert chosen([*low, *high]) == 6


def test_equal_values_are_ordered_by_number_and_broken_values_come_last() -> None:
    assert chosen([trial(3, 0.5), trial(2, 0.5), trial(4, 0.5)]) == 2
    assert chosen([trial(1, None), trial(2, math.nan), trial(3, 0.0)]) == 3


def test_trials_with_other_numbers_of_epochs_are_not_compared() -> None:
    assert chosen([trial(1, 0.1), trial(2, 0.3), trial(3, 0.2, epochs=6)]) is None


def test_a_trial_in_another_home_and_a_skipped_one_are_not_chosen() -> None:
    trials = [trial(n, 0.1 * n, home="there" if n > 4 else HOME) for n in range(1, 7)]
    assert rule().choose(trials, {HOME}) is None, "the best two are elsewhere"
    assert rule().choose(trials, {"there"}) == 106
    assert rule().choose(trials, {"there"}, {106}) == 105


def test_at_the_end_the_best_of_every_rung_goes_on() -> None:
    assert chosen([trial(1, 0.1), trial(2, 0.3)], at_least=AT_END) == 2
    assert chosen([trial(1, 0.1), trial(2, 0.3, paused=False)], at_least=AT_END) is None


def test_without_time_for_new_trials_all_go_on_the_nearest_to_the_end_first() -> None:
    trials = [trial(1, 0.1), trial(2, 0.3), trial(3, 0.2, 0.4), trial(4, 0.2, 0.5)]
    order = []
    while (found := chosen(trials, at_least=ALL)) is not None:
        order.append(found)
        trials = [t for t in trials if t.number != found]
    assert order == [4, 3, 2, 1]


@pytest.mark.parametrize(("number", "epoch", "pauses"), [(1, 1, True), (1, 2, False), (0, 1, False), (1, 3, False)])
def test_a_trial_pauses_at_a_rung_that_it_has_not_passed(number: int, epoch: int, pauses: bool) -> None:
    passed = trial(number, *((0.1, 0.2) if epoch == 3 else ()), paused=False)
    assert rule().pauses_at(passed, epoch) is pauses


def test_without_a_budget_no_trial_is_hopeless() -> None:
    trials = [trial(n, 0.1 * n) for n in range(1, 10)]
    assert rule().hopeless(trials, None) == set()
    assert rule().hopeless(trials, 9) == {101, 102, 103, 104, 105, 106}
    assert rule().hopeless(trials, 27) == set(), "nine of 27 go on"


VALUES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, None]), min_size=1, max_size=25)


@given(values=VALUES, factor=st.integers(2, 4), workers=st.integers(1, 4), data=st.data())
def test_at_most_the_best_share_goes_on_but_for_what_arrives_later(
    values: list[float | None], factor: int, workers: int, data: st.DataObject
) -> None:
    """Trials arrive at a rung one after another; between two arrivals, workers promote as many as they can."""
    halving = rule(factor)
    trials: list[RungValues] = []
    for number, value in enumerate(values, 1):
        trials.append(trial(number, value))
        for _ in range(data.draw(st.integers(0, workers))):
            found = halving.choose(trials, {HOME})
            assert found == halving.choose(list(reversed(trials)), {HOME}), "all workers choose alike"
            if found is None:
                break
            place = found - 101
            own, rivals = trials[place], [t for t in trials if t.work_id != found]
            assert own.paused_after == 1
            assert sum(_order(rival) < _order(own) for rival in rivals) < len(trials) // factor
            trials[place] = trial(own.number, own.values[1], paused=False)
    promoted = sum(t.paused_after is None for t in trials)
    # The bound is reached where every trial is better than all before it.
    assert promoted <= max(0, len(trials) - factor + 1)
    if halving.choose(trials, {HOME}) is None:
        best = sorted(trials, key=_order)[: len(trials) // factor]
        assert all(t.paused_after is None for t in best), "none of the best is left behind"


@given(values=VALUES, factor=st.integers(2, 4))
def test_of_trials_that_arrive_together_exactly_the_best_share_goes_on(values: list[float | None], factor: int) -> None:
    halving = rule(factor)
    trials = [trial(number, value) for number, value in enumerate(values, 1)]
    order = []
    while (found := halving.choose(trials, {HOME})) is not None:
        order.append(found - 100)
        trials = [trial(t.number, t.values[1], paused=t.paused_after == 1 and t.work_id != found) for t in trials]
    assert order == [t.number for t in sorted(trials, key=_order)][: len(trials) // factor]


@given(values=VALUES, later=VALUES, factor=st.integers(2, 4))
def test_a_hopeless_trial_is_never_chosen_whatever_comes_later(
    values: list[float | None], later: list[float | None], factor: int
) -> None:
    halving = rule(factor)
    trials = [trial(number, value) for number, value in enumerate(values, 1)]
    hopeless = halving.hopeless(trials, len(values) + len(later))
    for number, value in enumerate(later, len(values) + 1):
        trials.append(trial(number, value))
    while (found := halving.choose(trials, {HOME}, at_least=AT_END)) is not None:
        assert found not in hopeless
        trials = [trial(t.number, t.values[1], paused=t.paused_after == 1 and t.work_id != found) for t in trials]


def _order(trial: RungValues) -> tuple[float, int]:
    value = trial.values[1]
    return (math.inf if value is None else -value, trial.number)
