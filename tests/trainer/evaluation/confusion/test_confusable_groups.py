"""Groups of confusable classes: planted ones are found, whatever numbers the classes have; chance makes none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.evaluation.confusion.confusable_groups import (
    FEWEST,
    LARGEST,
    SHARE,
    Groups,
    among,
    classes_of,
    confusable_groups,
    groups_of_predictions,
    mistakes,
    mistakes_between,
    mistakes_within,
    spectral_order,
)

CLASSES = 9
PLANTED = ((0, 1), (2, 3, 4))


def planted(within: int, elsewhere: int) -> NDArray[np.int64]:
    """Counts with ``within`` mistakes for each ordered pair of a planted group, and a few spread over all pairs."""
    counts = np.full((CLASSES, CLASSES), elsewhere)
    for group in PLANTED:
        counts[np.ix_(group, group)] = within
    np.fill_diagonal(counts, 40)
    return counts


def renamed(groups: Groups, order: list[int]) -> set[frozenset[int]]:
    return {frozenset(order[label] for label in group) for group in groups}


@given(order=st.permutations(range(CLASSES)))
def test_planted_groups_are_found_in_any_order(order: list[int]) -> None:
    counts = planted(within=6, elsewhere=0)
    counts[3, 7] = counts[8, 0] = 1  # The groups are connected by chance.
    found = confusable_groups(counts[np.ix_(order, order)])
    assert renamed(found, order) == set(map(frozenset, PLANTED))


def test_mistakes_that_are_spread_evenly_make_no_group() -> None:
    assert confusable_groups(planted(within=1, elsewhere=1)) == ()
    assert confusable_groups(np.diag([9, 4, 30])) == ()


def test_a_pair_needs_a_number_and_a_share_of_mistakes() -> None:
    counts = np.diag([50] * 8)
    counts[2, 5] = int(FEWEST)
    assert confusable_groups(counts) == ()
    counts[5, 2] = 1
    assert confusable_groups(counts) == ((2, 5),)
    counts[0, 1:5] = counts[1:5, 0] = counts[6, :5] = 1 + int((FEWEST + 1) / SHARE / 13)
    assert mistakes(counts) * SHARE > FEWEST + 1 and (2, 5) not in confusable_groups(counts)


def test_a_chain_is_cut_where_few_are_confused() -> None:
    counts = np.diag([30] * 7)
    for label, wrong in enumerate((12, 6, 12, 1, 9, 9)):
        counts[label, label + 1] = wrong
    assert confusable_groups(np.pad(counts, (0, 1))) == ((0, 1), (2, 3), (4, 5, 6)), "beside a class without mistakes"


@given(
    cells=st.integers(1, 7).flatmap(lambda n: st.lists(st.integers(0, 30), min_size=n * n, max_size=n * n)),
    largest=st.integers(2, 5),
)
def test_groups_are_disjoint_small_and_worth_their_pairs(cells: list[int], largest: int) -> None:
    side = round(len(cells) ** 0.5)
    counts = np.array(cells, np.int64).reshape(side, side)
    groups = confusable_groups(counts, largest=largest)
    chosen = [label for group in groups for label in group]
    assert len(set(chosen)) == len(chosen) < max(2, side) and groups == tuple(
        sorted(tuple(sorted(group)) for group in groups)
    )
    cost = max(SHARE * mistakes(counts), FEWEST)
    for group in groups:
        assert 2 <= len(group) <= min(largest, side - 1)
        assert mistakes_within((group,), counts) > cost * len(group) * (len(group) - 1) / 2
    assert mistakes_within(groups, counts) <= mistakes(counts)


@given(cells=st.lists(st.integers(0, 20), min_size=16, max_size=16))
def test_each_of_two_separate_pairs_is_judged_by_itself(cells: list[int]) -> None:
    counts = np.array(cells, np.int64).reshape(4, 4)
    counts[:2, 2:] = counts[2:, :2] = 0
    between, cost = mistakes_between(counts), max(SHARE * mistakes(counts), FEWEST)
    found = [pair for pair in ((0, 1), (2, 3)) if between[pair] > cost]
    if len(found) == 2:  # all classes
        found.remove(min(found, key=lambda pair: between[pair]))
    assert confusable_groups(counts) == tuple(found)


def test_a_class_is_always_in_no_group() -> None:
    """Of two groups with all classes, the one with fewer mistakes is left out."""
    counts = np.diag([40] * 5)
    counts[0, 1] = counts[2, 3] = counts[3, 4] = counts[2, 4] = 9
    assert confusable_groups(counts) == ((2, 3, 4),)
    assert confusable_groups(np.pad(counts, (0, 1))) == ((0, 1), (2, 3, 4))


def test_all_classes_are_never_one_group() -> None:
    counts = np.full((LARGEST, LARGEST), 25)
    groups = confusable_groups(counts)
    assert groups and all(len(group) < LARGEST for group in groups)
    assert confusable_groups(np.full((2, 2), 25)) == ()


def test_mistakes_are_counted_in_both_directions() -> None:
    counts = np.array([[5, 2, 0], [3, 6, 1], [0, 0, 7]])
    assert mistakes(counts) == 6
    assert mistakes_between(counts).tolist() == [[0, 5, 0], [5, 0, 1], [0, 1, 0]]
    assert mistakes_within(((0, 1),), counts) == 5 and mistakes_within((), counts) == 0


def test_predictions_give_the_groups_of_their_counts() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 20)
    predicted = np.where(np.isin(y, (1, 4)) & (rng.random(100) < 0.4), 5 - y, y)
    proba = 0.1 + 0.5 * np.eye(5)[predicted]
    assert groups_of_predictions(y, proba) == ((1, 4),)


def test_only_trained_classes_remain() -> None:
    groups: Groups = ((0, 3), (1, 2, 5), (4, 6))
    assert classes_of(groups) == (0, 1, 2, 3, 4, 5, 6)
    assert among(groups, (0, 1, 3, 5, 6)) == ((0, 3), (1, 5))
    assert among(groups, ()) == ()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_spectral_order_is_that_of_a_chain(order: tuple[int, ...]) -> None:
    chain = np.zeros((4, 4))
    for label in range(3):
        chain[label, label + 1] = chain[label + 1, label] = 5.0
    found = [order[i] for i in spectral_order(chain[np.ix_(order, order)])]
    assert found in ([0, 1, 2, 3], [3, 2, 1, 0])
