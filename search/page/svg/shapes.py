"""Shapes of a drawing in units of its view box, and the measuring of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from trainer.inference.printable import printable

CELL = 7.0
"""Width of a character cell at the font size of labels, `FONT`: the mean of a sans-serif font, rounded up."""
FONT = 12.0
"""Font size of labels. The style sheet sets the same."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A polyline, or with ``filled`` the area inside of it."""

    points: tuple[tuple[float, float], ...]
    """Two or more."""
    style: str
    """Class in the style sheet, as for all shapes."""
    filled: bool = False

    @property
    def path(self) -> str:
        """The attribute ``d`` of an SVG path."""
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in self.points) + "Z" * self.filled


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A circle."""

    x: float
    y: float
    radius: float
    style: str
    hint: str = ""
    """Text that a browser shows under the mouse pointer."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str
    opacity: float = 1.0
    """0 to 1."""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A line of text."""

    x: float
    y: float
    """Baseline."""
    text: str
    style: str = "label"
    anchor: str = "start"
    """``start``, ``middle`` or ``end``."""
    upright: bool = False
    """Whether it runs from the bottom to the top."""


Shape = Line | Dot | Box | Label


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture with its name for screen readers."""

    title: str
    width: float
    height: float
    shapes: tuple[Shape, ...]

    @property
    def points(self) -> Iterator[tuple[float, float]]:
        """Corners of all shapes; of a label only its anchor."""
        for shape in self.shapes:
            if isinstance(shape, Line):
                yield from shape.points
            elif isinstance(shape, Dot):
                yield shape.x, shape.y
            elif isinstance(shape, Box):
                yield from ((shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height))
            else:
                yield shape.x, shape.y


def fitting(text: str, width: float) -> str:
    """The text on one line with control characters as escapes, cut to a width in units of the view box."""
    shown, cells = printable(" ".join(text.split())), max(1, int(width / CELL))
    return shown if cell_len(shown) <= cells else set_cell_size(shown, cells - 1).rstrip() + "…"


def joined(*parts: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shapes of several parts, the first ones at the bottom."""
    return tuple(shape for part in parts for shape in part)
