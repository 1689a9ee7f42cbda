"""Lists of groups of images, such as patients, that divide the images: ``test_patients.txt``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainer.common.errors import DataError, counted
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.parts.part_files import list_files, part_of_stem
from trainer.data.readers.tables.reading.divisions_beside import Divided
from trainer.data.readers.tables.reading.table_files import read_lines
from trainer.inference.printable import printable


def refuse_group_lists(
    folder: Path, places: Iterable[Path], divided: Divided, where: str, encoding: str | None
) -> None:
    """Refuse to train on all images beside a list of some of their groups that is called after a part.

    Args:
        folder: the data folder.
        places: the folders that may hold such lists.
        where: name of the training table.

    Raises:
        DataError: there is such a list.
    """
    groups = {
        name: values
        for name, value_of in divided.groups.items()
        if 1 < len(values := set(value_of.values()) - {""}) < len(value_of)
    }
    for path in list_files(places) if groups else ():
        if part_of_stem(path.stem) is None:
            continue
        try:
            entries = [composed(line.strip().strip("\"'")) for line in read_lines(path, encoding)]
        except DataError:  # no list
            continue
        entries = list(filter(None, entries))
        for name, values in groups.items():
            listed = values.intersection(entries)
            if listed and len(listed) >= len(entries) - 1 and len(listed) < len(values):  # the first may be a header
                raise DataError(
                    f"{printable(path.relative_to(folder).as_posix())} lists {counted(len(listed), 'value')} of the "
                    f"column {name!r} of {where}, and may divide the images by them. Write a table splits.csv with "
                    f"the columns {name} and split (train, val or test in each row), and move this list out of the "
                    "data folder"
                )
