"""A picture of a trial's learning curves: every fold's score after each epoch, and that of all held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from storage.values import EpochCurve

FOLD, ALL, LOSS = "#9aa5b1", "#1b6ca8", "#d1495b"
SIZE = (7.5, 4.2)  # inches
DPI = 110


def draw_curves(path: Path, *, title: str, metric: str, curves: Sequence[EpochCurve]) -> None:
    """Write the picture as PNG.

    Args:
        title: ASCII, since matplotlib's own font draws it.
        curves: the epochs of the trial, one at least, in order.

    Raises:
        OSError: the file cannot be written.
    """
    # Not pyplot, which keeps global state and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [curve.epoch for curve in curves]
    folds = max(len(curve.fold_metrics) for curve in curves)
    for fold in range(folds):
        scores = [c.fold_metrics[fold] if fold < len(c.fold_metrics) else np.nan for c in curves]
        axes.plot(epochs, scores, ".-", color=FOLD, linewidth=1, label=f"{folds} folds" if fold == 0 else None)
    scores = [c.metric for c in curves]
    axes.plot(epochs, scores, "o-", color=ALL, linewidth=2, markersize=4, label="all held-out images")
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric, color=ALL)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    loss = axes.twinx()
    loss.plot(epochs, [c.train_loss for c in curves], "--", color=LOSS, linewidth=1.2, label="training loss")
    loss.set_ylabel("training loss", color=LOSS)
    lines = [*axes.get_legend_handles_labels()[0], *loss.get_legend_handles_labels()[0]]
    figure.legend(handles=lines, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    axes.set_title(title, fontsize=11, parse_math=False)
    figure.savefig(path, format="png")
