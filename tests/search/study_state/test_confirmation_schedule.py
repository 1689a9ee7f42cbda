"""The choice of finalists and splits and the end of confirmation, on plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.study_state.confirmation_schedule import (
    Contender,
    Limit,
    choose_finalists,
    confirmation_budget,
    finalist_count,
    least_share,
    next_step,
)
from studies.settings import ConfirmSettings

SETTINGS = ConfirmSettings()


def recipes(*numbers: int) -> dict[int, str]:
    return {number: f"recipe {number}" for number in numbers}


@pytest.mark.parametrize(("counted", "expected"), [(0, 0), (4, 0), (5, 1), (8, 1), (10, 2), (49, 9), (1000, 10)])
def test_a_fifth_of_the_trials_are_finalists(counted: int, expected: int) -> None:
    assert finalist_count(counted, SETTINGS) == expected
    assert finalist_count(counted, replace(SETTINGS, rounds=0)) == 0
    assert finalist_count(counted, replace(SETTINGS, finalists=1)) == min(1, expected)


def test_finalists_are_the_best_and_the_default_recipe_at_any_rank() -> None:
    known = recipes(0, 1, 2, 3, 4)
    assert choose_finalists([3, 1, 4, 2, 0], known, 2) == [3, 0, 1]
    assert choose_finalists([0, 3, 1, 4, 2], known, 2) == [3, 0, 1]
    assert choose_finalists([3, 1], known, 5) == [3, 1], "the default recipe failed"
    assert choose_finalists([3, 1], known, 0) == []


def test_a_recipe_is_confirmed_once_however_many_trials_found_it() -> None:
    known = recipes(0, 1, 2) | {3: "recipe 1", 4: "recipe 0"}
    assert choose_finalists([4, 3, 1, 2, 0], known, 3) == [3, 0, 2]
    assert choose_finalists([4, 3, 1, 2, 0], known, 3, confirmed=[1]) == [1, 0, 2], "the confirmed trial is kept"


def test_a_confirmed_trial_stays_a_finalist_after_better_trials() -> None:
    assert choose_finalists([9, 8, 3, 1, 0], recipes(0, 1, 3, 8, 9), 2, confirmed=[0, 1, 3]) == [9, 0, 8, 3, 1]


def test_the_share_is_of_search_and_confirmation_together() -> None:
    assert confirmation_budget(300.0, 0.25) == pytest.approx(100.0)
    assert confirmation_budget(300.0, 0.0) == 0.0


def contender(number: int, *splits: int, seconds: float = 10.0, **more: bool) -> Contender:
    return Contender(number=number, seconds=seconds, splits=frozenset(splits), **more)


def test_the_first_round_takes_leader_and_default_at_any_cost_and_others_within_the_budget() -> None:
    four = [contender(7, needed=True), contender(0, needed=True), contender(3), contender(5)]
    assert next_step(four, rounds=3, budget_seconds=40.0).items == ((7, 1), (0, 1), (3, 1), (5, 1))
    step = next_step(four, rounds=3, budget_seconds=39.0)
    assert step.items == ((7, 1), (0, 1), (3, 1)) and step.left_out == (5,) and "share" in step.why
    assert next_step(four, rounds=3, budget_seconds=-5.0).items == ((7, 1), (0, 1))
    step = next_step(four, rounds=3, budget_seconds=40.0, max_trainings=2)
    assert step.items == ((7, 1), (0, 1)) and "time" in step.why
    step = next_step(four, rounds=3, budget_seconds=40.0, max_trainings=1)
    assert step.items == () and "no time" in step.why, "a single training could not be compared"


def test_eliminated_and_failed_finalists_stop_and_a_single_one_ends_the_race() -> None:
    three = [contender(7, 1), contender(3, 1), contender(0, 1, eliminated=True)]
    assert next_step(three, rounds=3, budget_seconds=100.0).items == ((7, 2), (3, 2))
    assert next_step(
        [contender(7, 1), contender(3, dropped=True), contender(0, 1, eliminated=True)], rounds=3, budget_seconds=100.0
    ) == (next_step([contender(7, 1), contender(0, 1, eliminated=True)], rounds=3, budget_seconds=100.0))
    step = next_step(three[:1] + three[2:], rounds=3, budget_seconds=100.0)
    assert step.items == () and "clearly beaten" in step.why
    assert next_step([contender(7, dropped=True)], rounds=3, budget_seconds=100.0).items == ()


def test_a_later_round_beyond_the_budget_takes_at_least_the_best_two() -> None:
    three = [contender(n, 1) for n in (7, 3, 0)]
    assert next_step(three, rounds=3, budget_seconds=25.0).items == ((7, 2), (3, 2))
    step = next_step(three, rounds=3, budget_seconds=15.0)
    assert step.items == () and "used up" in step.why
    step = next_step(three, rounds=3, budget_seconds=100.0, max_trainings=1)
    assert step.items == () and "deadline" in step.why


def test_new_finalists_catch_up_before_further_rounds() -> None:
    mixed = [contender(9, needed=True), contender(7, 1, 2, 3), contender(0, 1, 2, 3)]
    assert next_step(mixed, rounds=3, budget_seconds=100.0).items == ((9, 1),)
    mixed[0] = contender(9, 1)
    assert next_step(mixed, rounds=3, budget_seconds=100.0).items == ((9, 2),)
    mixed[0] = contender(9, 1, 2, 3)
    assert next_step(mixed, rounds=3, budget_seconds=100.0).why == "all that are left ran 3 rounds"


@given(
    search_seconds=st.floats(10.0, 1e5),
    costs=st.lists(st.floats(1.0, 5000.0), min_size=2, max_size=5),
    share=st.floats(0.0, 0.5),
    spent=st.floats(0.0, 1e5),
)
def test_the_least_share_allows_the_round_that_the_budget_lacks(
    search_seconds: float, costs: list[float], share: float, spent: float
) -> None:
    contenders = [contender(n, 1, seconds=seconds) for n, seconds in enumerate(costs)]
    budget = confirmation_budget(search_seconds, share)
    step = next_step(contenders, rounds=3, budget_seconds=budget - spent)
    if step.limit is not Limit.SHARE:
        assert step.lacking_seconds == 0.0
        return
    larger = least_share(search_seconds, budget + step.lacking_seconds)
    if larger < 1.0:
        enough = confirmation_budget(search_seconds, larger) - spent
        assert next_step(contenders, rounds=3, budget_seconds=enough).items
        less = confirmation_budget(search_seconds, larger - 0.01) - spent
        assert not next_step(contenders, rounds=3, budget_seconds=less).items


@st.composite
def races(draw: st.DrawFn) -> tuple[list[Contender], int, float, list[float]]:
    count = draw(st.integers(1, 8))
    costs = draw(st.lists(st.floats(1.0, 50.0), min_size=count, max_size=count))
    start = [Contender(number=n, seconds=s, needed=n < 2) for n, s in enumerate(costs)]
    return start, draw(st.integers(1, 5)), draw(st.floats(0.0, 600.0)), draw(st.lists(st.floats(0, 1), min_size=40))


@given(races())
def test_every_race_ends_within_its_budget_and_runs_nothing_twice(
    race: tuple[list[Contender], int, float, list[float]],
) -> None:
    contenders, rounds, budget_seconds, luck = race
    needed = sum(c.seconds for c in contenders if c.needed)
    ran: set[tuple[int, int]] = set()
    spent = 0.0
    for turn in range(100):
        step = next_step(contenders, rounds=rounds, budget_seconds=budget_seconds - spent)
        if not step.items:
            break
        by_number = {c.number: c for c in contenders}
        for number, split in step.items:
            assert (number, split) not in ran and 1 <= split <= rounds
            assert not by_number[number].eliminated and not by_number[number].dropped
            ran.add((number, split))
            spent += by_number[number].seconds
        splits = {n: frozenset(s for m, s in ran if m == n) for n in by_number}
        last_is_beaten = luck[turn % len(luck)] > 0.5
        contenders = [replace(c, splits=splits[c.number]) for c in contenders]
        if last_is_beaten:
            contenders[-1] = replace(contenders[-1], eliminated=bool(contenders[-1].splits) and len(contenders) > 1)
    else:
        raise AssertionError("the race does not end")
    assert spent <= max(budget_seconds, needed) + 1e-6
    assert {(c.number, 1) for c in contenders if c.needed} <= ran
