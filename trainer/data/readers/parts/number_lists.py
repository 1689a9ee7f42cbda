"""Lists of row numbers that are called after a part, such as Derm7pt's ``test_indexes.csv``: they name no images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from trainer.common.errors import listed
from trainer.data.readers.parts.listed_images import listed_images
from trainer.data.readers.parts.part_files import list_files, part_of_stem
from trainer.data.readers.tables.find_tables import OF_ROWS


def number_lists(folder: Path, places: Iterable[Path], known: Mapping[str, str], encoding: str | None) -> list[str]:
    """A warning about the lists of numbers, which divide nothing; empty without any.

    Args:
        folder: the data folder.
        places: the folders that may hold such files.
        known: `trainer.data.readers.parts.part_files.spellings` of the images.
    """
    found = []
    for path in list_files(places):
        if part_of_stem(path.stem) is not None and OF_ROWS.fullmatch(path.stem) and path.suffix.lower() != ".json":
            images, others = listed_images(path, known, encoding)
            numbers = sum(entry.isdecimal() for entry in others)
            if numbers > len(images) and numbers >= len(others) - 1:  # the first may be a header
                found.append(path.relative_to(folder).as_posix())
    if not found:
        return []
    return [
        f"not used: {listed(found, 4)}: numbers in place of images, so the images of all parts are training images. To "
        "leave out a part, write the file names of its images into the list"
    ]
