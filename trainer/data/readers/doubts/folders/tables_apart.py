"""What to do about lists with labels in a folder without images, where the folders of the images are no classes."""

from __future__ import annotations

import shlex
from itertools import islice
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.doubts.files_apart import texts_apart
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError, ImageLookupError
from trainer.data.readers.parts.part_files import part_of_stem
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.inference.printable import printable

_PROBED_ROWS = 5


def table_apart_advice(folder: Path, files: ImageFiles) -> str:
    """How to choose a table such as ``labels/train.txt`` whose first rows name images; empty without one."""
    found = [path for path in texts_apart(folder, files) if _names_images(path, files)]
    if not found:
        return ""
    place = min(found, key=lambda path: part_of_stem(path.stem) != "train").relative_to(folder).as_posix()
    return f"If {printable(place)} holds the labels, add --table {shlex.quote(place)} (data.table)"


def _names_images(path: Path, files: ImageFiles) -> bool:
    """Whether each of the first rows of a table names an image and says something else."""
    try:
        rows = [tuple(row) for row in islice(read_table(path).rows, _PROBED_ROWS)]
    except DataError:  # a list
        return False
    return len(rows[0]) > 1 and all(any(_is_image(cell, files) for cell in row) for row in rows[1:] or rows)


def _is_image(cell: str, files: ImageFiles) -> bool:
    try:
        return bool(cell.strip()) and bool(files.find(cell, "train"))
    except ImageAmbiguousError:
        return True
    except ImageLookupError:
        return False
