"""Drawings: every coordinate is finite and inside the view box, whatever the values are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from search.page.svg.charts import Frame, Point, chart, x_scale, y_scale
from search.page.svg.matrix import matrix
from search.page.svg.rows import Mark, Row, rows_chart
from search.page.svg.scales import Scale, spanning
from search.page.svg.shapes import CELL, Drawing, Label, fitting
from trainer.inference.printable import printable

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False)
VALUES = st.lists(NUMBERS, min_size=1, max_size=30)
TEXTS = st.text(max_size=400)


def check(drawing: Drawing) -> None:
    points = list(drawing.points)
    assert points
    for x, y in points:
        assert math.isfinite(x) and -0.01 <= x <= drawing.width + 0.01
        assert math.isfinite(y) and -0.01 <= y <= drawing.height + 0.01


@given(values=VALUES, log=st.booleans())
def test_a_scale_holds_its_values_in_their_order(values: list[float], log: bool) -> None:
    scale = spanning(values, 10.0, 90.0, log=log)
    known = sorted(value for value in values if value > 1e-300 or not log)
    places = [scale(value) for value in known]
    assert all(10.0 <= place <= 90.0 for place in places)
    assert places == sorted(places)
    assert all(scale.holds(value) for value in known)


@given(values=VALUES, log=st.booleans())
def test_ticks_are_few_and_on_the_axis(values: list[float], log: bool) -> None:
    scale = spanning(values, 0.0, 100.0, log=log)
    ticks = scale.ticks()
    assert len(ticks) <= 11
    assert all(scale.holds(value) for value, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (5.96, 7.04, ["6", "7"]),
        (0.5, 9.4, ["2", "4", "6", "8"]),
        (0.0, 12.0, ["0", "5", "10"]),
        (-0.1, 0.1, ["0"]),
        (0.0, 110.0, ["0", "25", "50", "75", "100"]),
    ],
)
def test_ticks_of_whole_numbers(low: float, high: float, expected: list[str]) -> None:
    assert [text for _, text in Scale(low=low, high=high, start=0.0, stop=1.0, whole=True).ticks()] == expected


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 1.0, False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.93, 0.96, False, ["0.93", "0.94", "0.95", "0.96"]),
        (0.0, 200.0, False, ["0", "50", "100", "150", "200"]),
        (1e-4, 1e-1, True, ["0.0001", "0.001", "0.01", "0.1"]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, expected: list[str]) -> None:
    assert [text for _, text in Scale(low=low, high=high, start=0, stop=1, log=log).ticks()] == expected


def test_an_axis_without_a_range_is_refused() -> None:
    for low, high, log in ((1.0, 1.0, False), (0.0, math.inf, False), (math.nan, 1.0, False), (0.0, 1.0, True)):
        with pytest.raises(ValueError, match="axis"):
            Scale(low=low, high=high, start=0.0, stop=1.0, log=log)


@given(
    values=st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0.0, 1e6)), min_size=1, max_size=80),
    shown=st.integers(1, 80),
    text=TEXTS,
)
def test_a_chart_stays_in_its_view_box(values: list[tuple[float, float, float]], shown: int, text: str) -> None:
    points = [Point(x=x, y=y, error=error) for x, y, error in values]
    inside = points[:shown]  # the others are outside the axes
    frame = Frame(
        title=text, x_label=text, y_label=text, x=x_scale([p.x for p in inside]), y=y_scale([p.y for p in inside])
    )
    steps = sorted((p.x, p.y) for p in points)
    check(chart(frame, points, steps=steps, line=steps[:2] if len(steps) > 1 else (), band=(-1e13, 1e13)))


@given(
    rows=st.lists(st.tuples(TEXTS, NUMBERS, st.floats(0.0, 1e6), st.booleans()), min_size=1, max_size=20),
    guide=st.none() | NUMBERS,
    ends=st.none() | st.just((0.0, 1.0)),
)
def test_rows_stay_in_their_view_box(
    rows: list[tuple[str, float, float, bool]], guide: float | None, ends: tuple[float, float] | None
) -> None:
    drawn = [Row(name=name, marks=(Mark(value=v, error=e, is_bar=bar),), note="0.5") for name, v, e, bar in rows]
    drawing = rows_chart("title", drawn, label="label", guide=guide, ends=ends)
    check(drawing)
    names = [shape.text for shape in drawing.shapes if isinstance(shape, Label)]
    assert all(cell_len(name) * CELL <= drawing.width for name in names)


@given(counts=st.integers(1, 30).flatmap(lambda n: st.lists(st.integers(0, 10**6), min_size=n * n, max_size=n * n)))
def test_a_matrix_stays_in_its_view_box(counts: list[int]) -> None:
    classes = math.isqrt(len(counts))
    cells = np.array(counts, dtype=np.int64).reshape(classes, classes)
    check(matrix("title", [f"class {i}" for i in range(classes)], cells))


@given(text=TEXTS, width=st.floats(CELL, 500.0))
def test_a_text_that_is_cut_fits(text: str, width: float) -> None:
    shown = fitting(text, width)
    assert cell_len(shown) <= max(1, int(width / CELL))
    assert shown == printable(shown)
