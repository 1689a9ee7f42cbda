"""Labels that a program has written as lists of one: ``['N']``."""

from __future__ import annotations

import re
from dataclasses import replace

from trainer.data.readers.columns.choose_columns import Columns
from trainer.formats.delimited import Table
from trainer.formats.labels import is_missing

_LIST_OF_ONE = re.compile(r"""[\[(]\s*(['"])(?P<label>(?:(?!\1).)+)\1\s*,?\s*[\])]""", re.DOTALL)


def without_lists_of_one(table: Table, first: int, columns: Columns) -> tuple[Table, Columns]:
    """The table with the label alone in the column of labels, and a note, if each cell there is a list of one label.

    Args:
        first: index of the first row with an image.
    """
    column = columns.label
    if column is None:
        return table, columns
    found = {cell: _LIST_OF_ONE.fullmatch(cell.strip()) for cell in {row[column] for row in table.rows[first:]}}
    labels = {cell: match["label"].strip() for cell, match in found.items() if match is not None}
    if not labels or any(not is_missing(cell.strip()) for cell in found.keys() - labels.keys()):
        return table, columns
    rows = [(*row[:column], labels.get(row[column], row[column]), *row[column + 1 :]) for row in table.rows[first:]]
    cell = min(labels)
    note = f"{table.name}: each label is a list of one, such as {cell!r}, and is read as {labels[cell]!r}"
    return replace(table, rows=(*table.rows[:first], *rows)), replace(columns, notes=(*columns.notes, note))
