"""A confusion matrix: one row for each true class, one column for each predicted class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.page.svg.shapes import Box, Drawing, Label, Shape, fitting

SIDES = (19.0, 34.0)
"""Smallest and largest side of a cell."""
PLOT = 250.0
"""Width of the cells together, as far as `SIDES` allow."""
NAMES = 96.0
"""Room for the names of classes, left of the cells and above them."""
FAINTEST, STRONGEST = 0.1, 0.7
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
    edge = NAMES + side * classes
    shapes: list[Shape] = [
        Label(x=4.0, y=14.0, text="true ↓  taken for →", style="tick"),
        Box(x=NAMES, y=NAMES, width=side * classes, height=side * classes, style="sheet"),
    ]
    for i, name in enumerate(names):
        middle = NAMES + side * (i + 0.5)
        shapes.append(Label(x=NAMES - 5.0, y=middle + 4.0, text=fitting(name, NAMES - 8.0), anchor="end", style="flat"))
        shapes.append(
            Label(x=middle + 4.0, y=NAMES - 5.0, text=fitting(name, NAMES - 24.0), upright=True, style="flat")
        )
    for row, column in zip(*np.nonzero(counts), strict=True):
        share = float(shares[row, column])
        x, y = NAMES + side * float(column), NAMES + side * float(row)
        kind = "right" if row == column else "wrong"
        number = int(counts[row, column])
        hint = f"{names[row]} taken for {names[column]}: {number} of {int(counts[row].sum())}"
        opacity = round(FAINTEST + (STRONGEST - FAINTEST) * share**0.5, 2)
        shapes.append(Box(x=x, y=y, width=side, height=side, style=kind, opacity=opacity, hint=hint))
        if classes <= NUMBERED and len(str(number)) * 6.0 < side:
            middle, baseline = x + side / 2.0, y + side / 2.0 + 4.0
            shapes.append(Label(x=middle, y=baseline, text=str(number), anchor="middle", style="count"))
    return Drawing(title=title, width=edge + 6.0, height=edge + 6.0, shapes=tuple(shapes))
