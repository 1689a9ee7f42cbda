"""Charts with two axes: points with error bars, a line of steps, a band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from search.page.svg.scales import Scale, spanning
from search.page.svg.shapes import Box, Dot, Drawing, Label, Line, Shape, fitting, joined

WIDTH, HEIGHT = 340.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 24.0, 42.0  # margins around the plot


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a chart."""

    x: float
    y: float
    error: float = 0.0
    """Half the length of its error bar in y."""
    style: str = "dot"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The axes of a chart."""

    title: str
    x_label: str
    y_label: str
    x: Scale
    y: Scale
    categories: tuple[str, ...] = ()
    """Names at x = 0, 1, 2 ... instead of numbers."""


def x_scale(values: Sequence[float], *, log: bool = False, whole: bool = False, margin: float = 0.04) -> Scale:
    """The horizontal axis of a chart that holds all values; with ``whole``, its ticks are whole numbers."""
    return replace(spanning(values, LEFT, WIDTH - RIGHT, log=log, margin=margin), whole=whole)


def y_scale(values: Sequence[float], *, margin: float = 0.06) -> Scale:
    """The vertical axis of a chart that holds all values."""
    return spanning(values, HEIGHT - BOTTOM, TOP, margin=margin)


def categories_scale(count: int) -> Scale:
    """The horizontal axis of a chart with ``count`` categories."""
    return Scale(low=-0.6, high=count - 0.4, start=LEFT, stop=WIDTH - RIGHT)


def chart(
    frame: Frame,
    points: Sequence[Point],
    *,
    steps: Sequence[tuple[float, float]] = (),
    line: Sequence[tuple[float, float]] = (),
    band: tuple[float, float] | None = None,
) -> Drawing:
    """Draw points, those outside the axes at their edge with the style ``outside``.

    Args:
        steps: (x, y) of a line that keeps its y until the next x, for example the best so far.
        line: (x, y) of a straight line.
        band: lower and upper y of a shaded band.
    """
    x, y = frame.x, frame.y
    parts: list[Shape] = []
    if band is not None:
        top, bottom = y(band[1]), y(band[0])
        parts.append(Box(x=LEFT, y=top, width=WIDTH - RIGHT - LEFT, height=bottom - top, style="band"))
    bars = [
        Line(points=((x(p.x), y(p.y - p.error)), (x(p.x), y(p.y + p.error))), style="error")
        for p in points
        if p.error > 0.0 and y.holds(p.y)
    ]
    if line:
        parts.append(Line(points=tuple((x(a), y(b)) for a, b in line), style="guide"))
    radius = 3.5 if len(points) <= 60 else 2.4 if len(points) <= 300 else 1.7
    dots = [
        Dot(
            x=x(p.x),
            y=y(p.y),
            radius=radius,
            style=p.style if y.holds(p.y) and x.holds(p.x) else "outside",
            hint=p.hint,
        )
        for p in points
    ]
    above = [Line(points=tuple(_stairs(steps, x, y)), style="best")] if len(steps) > 1 else []
    return Drawing(
        title=frame.title, width=WIDTH, height=HEIGHT, shapes=joined(list(_axes(frame)), parts, bars, dots, above)
    )


def _stairs(steps: Sequence[tuple[float, float]], x: Scale, y: Scale) -> Iterator[tuple[float, float]]:
    before: float | None = None
    for at, value in steps:
        if before is not None:
            yield x(at), before
        before = y(value)
        yield x(at), before


def _axes(frame: Frame) -> Iterator[Shape]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value, text in frame.y.ticks():
        place = frame.y(value)
        yield Line(points=((LEFT, place), (right, place)), style="grid")
        yield Label(x=LEFT - 5.0, y=place + 4.0, text=text, anchor="end", style="tick")
    yield Line(points=((LEFT, bottom), (right, bottom)), style="axis")
    if frame.categories:
        room = (right - LEFT) / len(frame.categories)
        for i, name in enumerate(frame.categories):
            yield Label(x=frame.x(i), y=bottom + 16.0, text=fitting(name, room), anchor="middle", style="tick")
    else:
        for value, text in frame.x.ticks():
            yield Line(points=((frame.x(value), bottom), (frame.x(value), bottom + 4.0)), style="axis")
            yield Label(x=frame.x(value), y=bottom + 16.0, text=text, anchor="middle", style="tick")
    yield Label(x=(LEFT + right) / 2.0, y=HEIGHT - 7.0, text=fitting(frame.x_label, right - LEFT), anchor="middle")
    yield Label(x=4.0, y=13.0, text=fitting(frame.y_label, right))
