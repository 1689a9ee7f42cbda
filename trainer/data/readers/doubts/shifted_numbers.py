"""Other numbers taken for image numbers: rows that count from 0, or plants of which each has several images."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from trainer.formats.labels import is_integer

LEAST = 3
"""Numbers that a table needs to count."""
_LEAST_SHARE = 3 / 4  # of the numbers between the lowest and the highest one, for these to count
_LEAST_FURTHER = 1 / 4  # further images for each number of the table, from which it may count something else
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


def partial_numbers(
    where: str, name: str, cells: Collection[str], beside: Collection[str], rest: Collection[str]
) -> str:
    """Why a column of numbers may name no images, but what has several of them each; empty if it surely names them.

    Plants 1 to 24 and images ``1.jpg`` to ``72.jpg``: the numbers fit the first images by chance.

    Args:
        where: name of the table.
        name: of the column.
        cells: its cells.
        beside: the images in the folders of those that the cells name.
        rest: those of ``beside`` that no table lists.
    """
    stems = [PurePosixPath(path).stem for path in beside]
    if not all(is_integer(cell.strip()) for cell in cells) or not all(map(is_integer, stems)):
        return ""
    ids, images = {int(cell) for cell in cells}, set(map(int, stems))
    further = [number for path in rest if (number := int(PurePosixPath(path).stem)) > max(ids)]
    if len(ids) < LEAST or min(ids) > 1 or len(further) < max(LEAST, _LEAST_FURTHER * len(ids)):
        return ""
    if not (_count(ids) and _count(images)):
        return ""
    return (
        f"{where}: {name!r} counts from {min(ids)} to {max(ids)}, and the file names of the images from {min(images)} "
        f"to {max(images)}. If {name!r} counts what has several images each, such as plants or patients, the labels "
        "are wrong: write a table with one row for each image, its file name and its label. If it numbers the images, "
        f"add --id-column {shlex.quote(name)} (data.id_column)"
    )


def _count(numbers: Collection[int]) -> bool:
    """Whether numbers follow each other, but for some gaps."""
    return len(numbers) >= _LEAST_SHARE * (max(numbers) - min(numbers) + 1)
