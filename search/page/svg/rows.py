"""Charts of named rows: estimates with error bars on one axis, or bars from zero. A name is above its marks, so that
both have the full width of a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from search.page.svg.scales import Scale, spanning
from search.page.svg.shapes import CELL, Box, Dot, Drawing, Label, Line, Shape, fitting

WIDTH, ROW, FOOT = 340.0, 32.0, 36.0
LEFT, RIGHT = 8.0, 12.0
BAR = 9.0
"""Height of a bar."""
MARKS, MIDDLE = 15.0, 22.0
"""From the top of a row: where its text ends, and the middle of its marks."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """An estimate in a row."""

    value: float
    error: float = 0.0
    """Half the length of its error bar."""
    style: str = "dot"
    is_bar: bool = False
    """Whether a bar from zero shows it instead of a dot."""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A named row."""

    name: str
    marks: tuple[Mark, ...]
    note: str = ""
    """Short text at the right end of the name."""


def rows_chart(
    title: str,
    rows: Sequence[Row],
    *,
    label: str,
    guide: float | None = None,
    ends: tuple[float, float] | None = None,
) -> Drawing:
    """Draw the rows from top to bottom.

    Args:
        label: of the axis.
        guide: value of a vertical line.
        ends: of the axis; None: as the marks need.
    """
    height = ROW * len(rows) + FOOT
    marks = [mark for row in rows for mark in row.marks]
    if ends is None:
        values = [end for mark in marks for end in (mark.value - mark.error, mark.value + mark.error)]
        values += [0.0] * any(mark.is_bar for mark in marks) + ([] if guide is None else [guide])
        x = spanning(values, LEFT, WIDTH - RIGHT)
    else:
        x = Scale(low=ends[0], high=ends[1], start=LEFT, stop=WIDTH - RIGHT)
    shapes = [*_axis(x, height, label)]
    for i, row in enumerate(rows):
        if guide is not None:  # beside the marks alone, because the texts above them may be anywhere
            shapes.append(Line(points=((x(guide), ROW * i + MARKS), (x(guide), ROW * (i + 1))), style="guide"))
        shapes += _row(row, x, ROW * i)
    return Drawing(title=title, width=WIDTH, height=height, shapes=tuple(shapes))


def _row(row: Row, x: Scale, top: float) -> Iterator[Shape]:
    room = WIDTH - LEFT - RIGHT - (CELL * (len(row.note) + 2) if row.note else 0.0)
    yield Label(x=LEFT, y=top + 13.0, text=fitting(row.name, room))
    if row.note:
        yield Label(x=WIDTH - RIGHT, y=top + 13.0, text=row.note, anchor="end", style="tick")
    middle = top + MIDDLE
    for mark in row.marks:
        if mark.is_bar:
            start, end = sorted((x(0.0), x(mark.value)))
            yield Box(
                x=start, y=middle - BAR / 2.0, width=end - start, height=BAR, style=f"bar {mark.style}", hint=mark.hint
            )
        if mark.error > 0.0:
            yield Line(
                points=((x(mark.value - mark.error), middle), (x(mark.value + mark.error), middle)), style="error"
            )
        if not mark.is_bar:
            yield Dot(x=x(mark.value), y=middle, radius=4.5, style=mark.style, hint=mark.hint)


def _axis(x: Scale, height: float, label: str) -> Iterator[Shape]:
    bottom = height - FOOT
    for value, text in x.ticks():
        place = x(value)
        yield Line(points=((place, 0.0), (place, bottom)), style="grid")
        half = CELL * len(text) / 2.0
        anchor = "start" if place - half < 0.0 else "end" if place + half > WIDTH else "middle"
        yield Label(x=place, y=bottom + 14.0, text=text, anchor=anchor, style="tick")
    yield Label(x=WIDTH / 2.0, y=height - 5.0, text=fitting(label, WIDTH - 12.0), anchor="middle")
