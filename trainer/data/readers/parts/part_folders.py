"""Divide the rows of a table by the folders of their images: ``train/1.jpg`` and ``test/2.jpg`` in one table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import listed
from trainer.data.names.parts import folder_part
from trainer.data.readers.matching.id_spellings import slashes
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.tables.part_tables import PartTable
from trainer.formats.part_words import Part

_Place = tuple[Part, str]
"""A part, and the name of the folder that says so."""


def parts_by_folders(
    table: Path, cells: Sequence[str], found: Mapping[str, str], files: ImageFiles
) -> PartTable | None:
    """The part of each image of a table by its folders, as a table of parts.

    None if an image lies in no folder of a part, or if there are no training images or no others. An image that is
    missing has the part of a folder in its cell, or else is one for training.

    Args:
        table: the table.
        cells: its cells that name images.
        found: the path of the image of each cell that is there.
        files: all images.
    """
    siblings = _siblings(found.values())
    places = {path: _place(path, files, siblings) for path in set(found.values())}
    known = {name: part for place in places.values() if place is not None for part, name in [place]}
    if None in places.values() or len(set(known.values())) < 2 or "train" not in known.values():
        return None
    parts = {
        cell.strip(): place[0] if (place := places.get(found.get(cell, ""))) else _part_in_cell(cell, known)
        for cell in cells
    }
    return PartTable(path=table, parts=parts, numbers={}, names=listed(sorted(known), 4), what="folders")


def _siblings(paths: Iterable[str]) -> dict[PurePosixPath, set[str]]:
    """The names of the folders in each folder."""
    found: dict[PurePosixPath, set[str]] = defaultdict(set)
    for path in paths:
        for folder in PurePosixPath(path).parents:
            found[folder.parent].add(folder.name)
    return found


def _place(path: str, files: ImageFiles, siblings: Mapping[PurePosixPath, Collection[str]]) -> _Place | None:
    """The part of an image that is there; None without a folder of one."""
    for split in ("train", "test"):
        if (inner := files.below_split(path, split)) is not None:
            return split, PurePosixPath(path.removesuffix(f"/{inner}")).name
    folders = [folder for folder in PurePosixPath(path).parents if folder.name]
    held_out = [one.name for one in folders if folder_part(one.name, siblings[one.parent]) == "val"]
    return ("val", held_out[0]) if held_out else None


def _part_in_cell(cell: str, known: Mapping[str, Part]) -> Part:
    named = [known[folder] for folder in PurePosixPath(slashes(cell)).parts[:-1] if folder in known]
    return named[-1] if named else "train"
