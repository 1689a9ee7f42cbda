"""The order of classes: neighbours are confused, whatever order the classes came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.confusion.class_order import confusable_order, most_confused


@given(order=st.permutations(range(6)))
def test_confused_pairs_become_neighbours(order: list[int]) -> None:
    counts = np.diag([20] * 6)
    for a, b in ((0, 1), (2, 3), (4, 5)):
        counts[a, b] = 5
    found = confusable_order(counts[np.ix_(order, order)])
    classes = [order[i] for i in found]
    assert sorted(found) == list(range(6))
    assert {frozenset(classes[i : i + 2]) for i in (0, 2, 4)} == {
        frozenset({0, 1}),
        frozenset({2, 3}),
        frozenset({4, 5}),
    }


@given(cells=st.integers(1, 8).flatmap(lambda n: st.lists(st.integers(0, 50), min_size=n * n, max_size=n * n)))
def test_every_class_has_one_place(cells: list[int]) -> None:
    side = round(len(cells) ** 0.5)
    counts = np.array(cells, dtype=np.int64).reshape(side, side)
    assert sorted(confusable_order(counts)) == list(range(side))
    chosen = most_confused(counts, 4)
    assert len(chosen) == len(set(chosen)) <= 4


def test_without_confusions_the_order_stays() -> None:
    assert confusable_order(np.diag([3, 1, 2, 5])) == [0, 1, 2, 3]
    assert most_confused(np.diag([3, 1, 2, 5]), 2) == []


def test_the_most_confused_classes_come_first() -> None:
    counts = np.diag([10] * 100)
    counts[7, 42], counts[3, 90] = 6, 2
    assert sorted(most_confused(counts, 2)) == [7, 42]
    assert sorted(most_confused(counts, 4)) == [3, 7, 42, 90]
