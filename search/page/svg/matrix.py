"""A confusion matrix: one row for each true class, one column for each predicted class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from search.page.svg.shapes import CELL, Box, Drawing, Label, Shape, fitting
from trainer.inference.printable import printable

SIDES = (19.0, 34.0)
"""Smallest and largest side of a cell."""
PLOT = 250.0
"""Width of the cells together, as far as `SIDES` allow."""
NAMES = (40.0, 96.0)
"""Least and largest room for the names of classes, left of the cells and above them."""
FAINTEST, STRONGEST = 0.18, 0.7
"""Opacities of the cells. Numbers on them have a contrast of 4.5 or more, in the light and in the dark colours."""
NUMBERED = 20
"""Largest number of classes with numbers in the cells."""


def matrix(title: str, names: Sequence[str], counts: NDArray[np.int64]) -> Drawing:
    """Draw a confusion matrix. Right predictions and errors have colours of their own.

    The opacity of a cell grows with the square root of its share of the true class, so that rare errors can be seen.

    Args:
        names: of the C classes in the order of rows and columns.
        counts: images by true and predicted class, int64 ``(C, C)``.
    """
    classes = len(names)
    side = min(SIDES[1], max(SIDES[0], PLOT / max(1, classes)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = max((cell_len(printable(name)) for name in names), default=0)
    room = min(NAMES[1], max(NAMES[0], CELL * longest + 26.0))
    edge = room + side * classes
    shapes: list[Shape] = [
        Label(x=2.0, y=11.0, text="true ↓ taken for →", style="tick"),
        Box(x=room, y=room, width=side * classes, height=side * classes, style="sheet"),
    ]
    for i, name in enumerate(names):
        middle = room + side * (i + 0.5)
        shapes.append(Label(x=room - 5.0, y=middle + 4.0, text=fitting(name, room - 8.0), anchor="end", style="flat"))
        shapes.append(Label(x=middle + 4.0, y=room - 5.0, text=fitting(name, room - 24.0), upright=True, style="flat"))
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = float(shares[row, column])
        x, y = room + side * float(column), room + side * float(row)
        kind = "right" if row == column else "wrong"
        number = int(counts[row, column])
        hint = f"{names[row]} taken for {names[column]}: {number} of {int(counts[row].sum())}"
        opacity = round(FAINTEST + (STRONGEST - FAINTEST) * share**0.5, 2)
        shapes.append(Box(x=x, y=y, width=side, height=side, style=kind, opacity=opacity, hint=hint))
        if classes <= NUMBERED and len(str(number)) * 6.0 < side:
            middle, baseline = x + side / 2.0, y + side / 2.0 + 4.0
            shapes.append(Label(x=middle, y=baseline, text=str(number), anchor="middle", style="count"))
    return Drawing(title=title, width=edge + 6.0, height=edge + 6.0, shapes=tuple(shapes))
