"""A column of boxes with their class, such as ImageNet's ``n01978287 240 170 260 240``, as a column of labels."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from trainer.common.errors import DataError
from trainer.formats.delimited import Table

_NUMBER = r"\s+-?\d+(?:\.\d+)?"
_BOX = re.compile(rf"([^\W\d]\S*)(?:{_NUMBER}){{4}}(?!\S)\s*")
_CELL = re.compile(rf"(?:[^\W\d]\S*(?:{_NUMBER}){{4}}\s*)+")


@dataclass(frozen=True, kw_only=True)
class BoxColumn:
    """A table whose column of boxes holds the class of each row's boxes instead.

    name: the column's first cell.
    """

    table: Table
    name: str

    @property
    def note(self) -> str:
        """A sentence on what is read and written."""
        return f"{self.name!r} lists boxes: the class before each is the label, and a submission holds no boxes"


def class_before_boxes(table: Table) -> BoxColumn | None:
    """The table with classes in place of boxes; None without a column of boxes.

    A box is a word that begins with a letter, and four numbers. A cell may list several boxes.

    Raises:
        DataError: a cell lists boxes of several classes.
    """
    below = table.rows[1:]
    for column in range(table.width):
        if not below or not all(_CELL.fullmatch(row[column].strip()) for row in below):
            continue
        rows = []
        for index, row in enumerate(table.rows):
            classes = dict.fromkeys(_BOX.findall(row[column])) if index or _CELL.fullmatch(row[column].strip()) else ()
            if len(classes) > 1:
                raise DataError(
                    f"{table.row_name(index)}: the column {table.rows[0][column]!r} lists boxes of the classes "
                    f"{' and '.join(classes)}, but an image needs one label: write one class there, without boxes"
                )
            rows.append((*row[:column], *(classes or row[column : column + 1]), *row[column + 1 :]))
        if len({row[column] for row in rows[1:]}) < 2:
            continue  # words and numbers of another meaning
        return BoxColumn(table=dataclasses.replace(table, rows=tuple(rows)), name=table.rows[0][column])
    return None
