"""Numbers as rows of characters."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.report.live.sparkline import ASCII, BLOCKS, best_so_far, bounds_of, sparkline

Numbers = st.lists(st.floats(), max_size=60)


@pytest.mark.parametrize("levels", [BLOCKS, ASCII])
def test_levels_rise_with_the_values(levels: str) -> None:
    assert sparkline(range(8), 24, (0, 7), levels) == levels
    assert sparkline([5, 5, 5], 24, (5, 5), levels) == levels[4] * 3, "equal values are in the middle"


def test_many_values_share_cells_and_the_last_one_is_always_shown() -> None:
    assert sparkline([0.0] * 99 + [1.0], 10, (0.0, 1.0)) == "▁" * 9 + "█"
    assert sparkline([], 10, (0.0, 1.0)) == ""
    assert sparkline([math.nan, 1.0, math.inf], 10, (0.0, 1.0)) == " █ "


def test_two_curves_on_one_scale() -> None:
    bounds = bounds_of([0.0, 0.5], [1.0, math.nan])
    assert bounds == (0.0, 1.0)
    assert sparkline([0.0, 0.5], 9, bounds) == "▁▅"
    assert bounds_of([], [math.nan]) == (0.0, 0.0)


@given(Numbers, st.integers(1, 30))
@example([-1.7e308, 0.0, 1.7e308], 3)
@example([0.0, 5e-324], 2)
def test_any_numbers_give_one_character_a_cell(values: list[float], cells: int) -> None:
    drawn = sparkline(values, cells, bounds_of(values))
    assert len(drawn) == min(cells, len(values)) and set(drawn) <= {*BLOCKS, " "}


@given(Numbers)
def test_the_best_so_far_never_falls(values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    best = best_so_far(finite)
    assert best == sorted(best) and best[-1:] == sorted(finite)[-1:]
