"""Write the several labels of an image into one column, wherever and however a training table lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.several.further_labels import further_cell, further_labels
from trainer.data.readers.columns.several.other_marks import unify_marks
from trainer.data.readers.columns.several_labels import (
    NO_LABELS,
    OPTION,
    LabelLists,
    lists_in_class_columns,
    lists_in_column,
    parts_of,
    separator_of,
)
from trainer.data.readers.tables.reading.records.cells import BETWEEN
from trainer.formats.delimited import Table
from trainer.formats.labels import is_missing

_ADVICE = f"{OPTION} yes (data.several_labels)"


def with_lists(
    table: Table, first: int, names: Sequence[str], columns: Columns, options: DataOptions, sample: SampleHints
) -> tuple[Table, Columns]:
    """The table and its columns, with how they list several labels of an image, if they do.

    Where several columns hold the labels, or the cells use a rare separator, the table has them in one column, with
    ``|`` between them.

    Args:
        first: index of the first row with an image.
        names: of the columns.

    Raises:
        DataError: cells are lists in brackets, or a column may hold further labels.
    """
    rows, where, asked = table.rows[first:], table.name, options.several_labels
    if columns.label is None:
        lists = lists_in_class_columns(where, [columns.shares(row) for row in rows], asked)
        return table, _with(columns, lists, one_label=asked == "no")
    if asked == "no":
        return table, replace(columns, one_label=True)
    taken = {columns.id, columns.image, columns.label, columns.group, columns.part}
    further = further_labels(names, rows, columns.label, [c for c in range(len(names)) if c not in taken])
    wanted = sample.header[1:] if len(sample.header) > 2 else ()
    if further.named and asked == "yes":
        return _joined(table, first, names, columns, further.named)
    if further.alike and asked == "yes":
        name = names[further.alike[0]]
        raise DataError(
            f"{where}: {name!r} holds names of labels as {names[columns.label]!r} does. If they are labels of the "
            f"image, too, write all into one column, such as cat|dog; otherwise remove {name!r} from the table"
        )
    cells, images = ([row[column].strip() for row in rows] for column in (columns.label, columns.image))
    if columns.label in table.lists:
        lists = LabelLists(
            separator=BETWEEN,
            note=f"{where}: an image may have several labels, which {names[columns.label]!r} lists; {OPTION} no "
            "(data.several_labels) reads each combination as a class of its own",
        )
        warnings = [_passed_over(where, names, rows, column) for column in (*further.named, *further.alike)]
        return table, _with(replace(columns, warnings=(*columns.warnings, *warnings)), lists)
    if asked == "yes" and separator_of(cells, wanted) is None and (found := unify_marks(where, cells, wanted)):
        table = _with_labels(table, first, columns.label, found.cells)
        return table, _with(replace(columns, warnings=(*columns.warnings, *found.warnings)), found.lists)
    lists = lists_in_column(where, cells, asked, wanted, images)
    warnings = [_passed_over(where, names, rows, column) for column in (*further.named, *further.alike)]
    return table, _with(replace(columns, warnings=(*columns.warnings, *warnings)), lists)


def _with(columns: Columns, lists: LabelLists | None, *, one_label: bool = False) -> Columns:
    if lists is None:
        return replace(columns, one_label=one_label)
    return replace(columns, lists=lists, notes=(*columns.notes, lists.note))


def _passed_over(where: str, names: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> str:
    """The warning about a column that may hold further labels and is not read."""
    cells = [text for row in rows if (text := further_cell(row[column]))]
    return (
        f"{where}: {names[column]!r} may hold further labels of {len(cells)} images, such as {cells[0]!r}, and is not "
        f"read: if an image may have several labels, add {_ADVICE}, or write them into one column, such as cat|dog"
    )


def _joined(
    table: Table, first: int, names: Sequence[str], columns: Columns, further: Sequence[int]
) -> tuple[Table, Columns]:
    """The table with the labels of several columns in the column of labels."""
    assert columns.label is not None, "a column holds the first label"
    rows = table.rows[first:]
    own = [row[columns.label].strip() for row in rows]
    known = [cell for cell in own if not is_missing(cell)]
    mark = BETWEEN if columns.label in table.lists else separator_of(known)
    labels: list[list[str]] = [[] if is_missing(cell) else parts_of(cell, mark) for cell in own]
    names_of = {name for label in labels for name in label}
    for column in further:
        cells = [further_cell(row[column]) for row in rows]
        lists = lists_in_column(f"{table.name}, column {names[column]!r}", cells, "auto", sorted(names_of))
        between = BETWEEN if column in table.lists else lists.separator if lists is not None else None
        for label, cell in zip(labels, cells, strict=True):
            label += parts_of(cell, between)
    written = [
        BETWEEN.join(label) or (NO_LABELS if cell == NO_LABELS else "") for label, cell in zip(labels, own, strict=True)
    ]
    several = [names[column] for column in (columns.label, *further)]
    lists = LabelLists(
        separator=BETWEEN, note=f"{table.name}: the labels of an image are those of the columns {listed(several)}"
    )
    return _with_labels(table, first, columns.label, written), _with(columns, lists)


def _with_labels(table: Table, first: int, column: int, cells: Sequence[str]) -> Table:
    """The table with other cells in the column of labels."""
    changed = ((*row[:column], cell, *row[column + 1 :]) for row, cell in zip(table.rows[first:], cells, strict=True))
    return replace(table, rows=(*table.rows[:first], *changed))
