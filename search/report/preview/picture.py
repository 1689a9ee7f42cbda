"""Draws the picture of `search preview`: rows of example images with names and values."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.runtime.output_files import save_picture
from trainer.evaluation.fonts import fonts_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Lengths in inches. A fixed grid, so that nothing overlaps.
CELL = 1.45
GAP = 0.06
BLOCK_GAP = 0.3
LABEL = 2.6
CAPTION = 0.34
MARGIN = 0.2
HEAD = 0.98
DPI = 110
LABEL_WIDTH = 34  # characters in a line of the explanation


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRow:
    """One augmentation. Images are uint8 ``(size, size, 3)``."""

    name: str
    doc: str
    """Explanation of the augmentation."""
    original: NDArray[np.uint8]
    blocks: tuple[tuple[str, Sequence[NDArray[np.uint8]]], ...]
    """Caption and examples of each strength."""


def draw(path: Path, title: str, subtitle: str, rows: Sequence[PictureRow]) -> None:
    """Write the picture atomically, in the format that the ending of ``path`` names.

    Args:
        subtitle: up to two lines.

    Raises:
        FileNotOurs: a file of other origin has that name.
        OSError: the file cannot be written.
    """
    # Not pyplot, which keeps global state and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    per_row = max(sum(len(images) for _, images in row.blocks) for row in rows)
    blocks = max(len(row.blocks) for row in rows)
    width = 2 * MARGIN + LABEL + CELL + blocks * BLOCK_GAP + per_row * (CELL + GAP)
    height = HEAD + len(rows) * (CAPTION + CELL) + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    fonts = fonts_for([title, subtitle])
    style: dict[str, Any] = {"va": "top", "parse_math": False, "family": fonts.families}
    figure.text(MARGIN / width, 1 - 0.2 / height, fonts.drawable(title), fontsize=15, **style)
    figure.text(MARGIN / width, 1 - 0.54 / height, fonts.drawable(subtitle), fontsize=10, color="0.35", **style)
    for number, row in enumerate(rows):
        _draw_row(figure, HEAD + number * (CAPTION + CELL), row)
    save_picture(figure, path)


def _draw_row(figure: Figure, top: float, row: PictureRow) -> None:
    """Draw one row; its captions begin ``top`` inches below the upper edge of the picture."""
    width, height = figure.get_size_inches()

    def words(left: float, below: float, text: str, **style: Any) -> None:
        figure.text(left / width, 1 - (top + below) / height, text, va="top", parse_math=False, **style)

    def picture(left: float, image: NDArray[np.uint8]) -> None:
        axes = figure.add_axes((left / width, 1 - (top + CAPTION + CELL) / height, CELL / width, CELL / height))
        axes.imshow(image)
        # A frame, because many images are as white at the edge as the page.
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color="0.8", linewidth=0.6)

    words(MARGIN, CAPTION, row.name, fontsize=12, weight="bold")
    words(MARGIN, CAPTION + 0.26, "\n".join(textwrap.wrap(row.doc, LABEL_WIDTH)), fontsize=9, color="0.35")
    left = MARGIN + LABEL
    words(left, 0.12, "original", fontsize=9.5, color="0.35")
    picture(left, row.original)
    left += CELL
    for caption, images in row.blocks:
        left += BLOCK_GAP
        words(left, 0.12, caption, fontsize=9.5)
        for image in images:
            picture(left, image)
            left += CELL + GAP
