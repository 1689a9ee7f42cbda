"""Row numbers taken for image numbers: a table that counts from 0, and images that count from 1."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from trainer.formats.labels import is_integer

LEAST = 3
"""Numbers that a table needs to count."""
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


def shifted_numbers(
    cells: Collection[str], unfound: Collection[str], found: Collection[str], paths: Collection[str]
) -> str:
    """Why ids must not be matched with images by their number; empty if they may.

    The ids count without a gap, those at one end have no image, and as many images follow at the other end. Then
    every image would get its neighbour's label.

    Args:
        cells: the ids of the training table.
        unfound: those of ``cells`` that no image has; at least one.
        found: the image files of the others.
        paths: all image files.
    """
    if not all(is_integer(cell.strip()) for cell in cells):
        return ""
    ids, missing = {int(cell) for cell in cells}, {int(cell) for cell in unfound}
    low, high, shift = min(ids), max(ids), len(missing)
    if len(ids) < LEAST or high - low + 1 != len(ids) or shift == len(ids):
        return ""
    folders = {PurePosixPath(path).parent for path in found}
    stems = [path.stem for path in map(PurePosixPath, paths) if path.parent in folders]
    numbers = {int(last[0]) for stem in stems if (last := _LAST_NUMBER.search(stem))}
    spare = numbers - ids
    forward = missing == set(range(low, low + shift)) and spare == set(range(high + 1, high + shift + 1))
    backward = missing == set(range(high - shift + 1, high + 1)) and spare == set(range(low - shift, low))
    if not (forward or backward):
        return ""
    return (
        f"the ids count from {low} to {high} and the images from {min(numbers)} to {max(numbers)}: matched by number, "
        "every image would get the label of another one. Write the file names of the images into the table"
    )
