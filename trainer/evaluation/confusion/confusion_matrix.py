"""The confusion matrix of an export, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.common.files import replacing
from trainer.evaluation.fonts import Fonts, fonts_for

MAX_NUMBERED_CLASSES = 30  # with more classes the cells are too small for numbers
MAX_LABEL = 24  # characters of a class name


def confusion_matrix(y: npt.NDArray[np.int64], pred: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.int64]:
    """Images of true class i that were predicted as class j: int64 (C, C). Classes are 0 .. C - 1."""
    cells = np.bincount(y * num_classes + pred, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def confusion_matrix_png(
    path: Path, y: npt.NDArray[np.int64], pred: npt.NDArray[np.int64], class_names: Sequence[str]
) -> bool:
    """Draw the confusion matrix, coloured by the share of each true class; the file is written atomically.

    ``y`` and ``pred`` are int64 (n,), classes 0 .. C - 1. Up to `MAX_NUMBERED_CLASSES` classes the cells hold the
    numbers of images; up to 100 classes and more the names stay readable, long ones shortened.

    Returns:
        Whether names that no installed font can draw begin with the number of their class, from 0.
    """
    # Not pyplot: it keeps global state and wants a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = len(class_names)
    counts = confusion_matrix(y, pred, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = classes <= MAX_NUMBERED_CLASSES
    side = max(5.0, (0.55 if numbered else 0.2) * classes + 2.5)  # inches
    figure = Figure(figsize=(side + 1.0, side), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    fonts = fonts_for(class_names)
    labels = [_label(fonts, number, name) for number, name in enumerate(class_names)]
    size = 9 if numbered else 7
    axes.set_xticks(range(classes), labels, rotation=90, fontsize=size, parse_math=False, family=fonts.families)
    axes.set_yticks(range(classes), labels, fontsize=size, parse_math=False, family=fonts.families)
    accuracy = float(np.trace(counts)) / max(int(counts.sum()), 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"{int(counts.sum()):,} images, {accuracy:.1%} on the diagonal")
    if numbered:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
    return any(fonts.drawable(name) != name for name in class_names)


def _label(fonts: Fonts, number: int, name: str) -> str:
    """A class name to draw; with the number of the class if not all of the name can be drawn."""
    shown = fonts.drawable(name)
    shown = shown if shown == name else f"{number}: {shown}"
    return shown if len(shown) <= MAX_LABEL else shown[: MAX_LABEL - 1] + "…"
