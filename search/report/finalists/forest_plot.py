"""The picture of `search compare`: a forest plot, one row for each finalist, the best on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.runtime.output_files import save_picture
from trainer.evaluation.fonts import fonts_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIED, NOT_TIED, DEFAULT_BAND, HINT = "#1b6ca8", "#9aa5b1", "#fff4d6", "0.4"
"""Blue and grey differ in brightness too, for colour-blind readers."""
WIDTH = 8.5  # inches
ROW = 0.38  # inches
FRAME = 1.75  # inches above and below the rows
DPI = 130


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One row of the plot: a finalist."""

    label: str
    estimate: float
    error: float
    """Standard error of ``estimate``."""
    averaged: float
    """Expected score of the average of its fold models; ``estimate`` if the gain from averaging is unknown."""
    searched: float | None
    """Score in the search, on the search's own split."""
    tied: bool
    """Whether it ties with the leader, or leads."""
    default: bool
    """Whether it is the default recipe."""
    note: str
    """Text at the right edge."""


def draw_forest(path: Path, *, title: str, metric: str, marks: Sequence[Mark]) -> None:
    """Write the plot atomically, in the format that the ending of ``path`` names.

    Args:
        marks: one for each finalist, one at least, the leader first.

    Raises:
        FileNotOurs: a file of other origin has that name.
        OSError: the file cannot be written.
        ValueError: the ending is no known format.
    """
    # Not pyplot, which keeps global state and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, FRAME + ROW * len(marks)), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    fonts = fonts_for([title, metric, *(text for mark in marks for text in (mark.label, mark.note))])
    for row, mark in enumerate(marks):
        _draw_row(axes, row, mark)
    leader = marks[0]
    axes.axvline(leader.averaged, color=TIED, linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
    axes.set_title(fonts.drawable(title), loc="left", fontsize=12, pad=22, parse_math=False, family=fonts.families)
    labels = [fonts.drawable(mark.label) for mark in marks]
    axes.set_yticks(range(len(marks)), labels, fontsize=9.5, parse_math=False, family=fonts.families)
    axes.set_ylim(len(marks) - 0.4, -0.6)
    axes.set_xlabel(
        f"{metric} of one network and of the average of the fold models, higher is better",
        fontsize=9.5,
        parse_math=False,
    )
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9, color="0.7")
    axes.grid(axis="x", color="0.92", zorder=-1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("0.7")
    axes.text(1.01, 1.02, "chance best", transform=axes.transAxes, fontsize=8.5, color=HINT, va="bottom")
    _draw_legend(axes, averages=any(mark.averaged != mark.estimate for mark in marks))
    save_picture(figure, path)


def _draw_row(axes: Axes, row: int, mark: Mark) -> None:
    colour = TIED if mark.tied else NOT_TIED
    if mark.default:
        axes.axhspan(row - 0.42, row + 0.42, color=DEFAULT_BAND, zorder=-2, linewidth=0)
    axes.errorbar(
        mark.estimate, row, xerr=mark.error, fmt="o", markersize=6.5, color=colour, elinewidth=2, capsize=0, zorder=3
    )
    if mark.averaged != mark.estimate:
        axes.plot(mark.averaged, row, "D", markersize=6.5, color=colour, zorder=3)
    if mark.searched is not None:
        axes.plot(mark.searched, row, "o", markersize=6.5, mfc="white", mec=colour, mew=1.3, zorder=4)
    axes.text(
        1.01,
        row,
        mark.note,
        transform=axes.get_yaxis_transform(),
        fontsize=9.5,
        color=colour if mark.tied else HINT,
        va="center",
    )


def _draw_legend(axes: Axes, *, averages: bool) -> None:
    """One line above the rows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dot(colour: str, label: str, *, hollow: bool = False, marker: str = "o") -> Line2D:
        face = "white" if hollow else colour
        return Line2D([], [], marker=marker, linestyle="", markersize=6.5, mfc=face, mec=colour, mew=1.3, label=label)

    axes.legend(
        handles=[
            dot(TIED, "leads or ties, ± standard error"),
            dot(NOT_TIED, "not tied"),
            dot("0.4", "score in the search", hollow=True),
            *([dot("0.4", "averaged", marker="D")] if averages else []),
            Patch(facecolor=DEFAULT_BAND, label="default recipe"),
        ],
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=5,
        frameon=False,
        fontsize=8.5,
        handletextpad=0.3,
        columnspacing=1.2,
        borderaxespad=0.1,
    )
