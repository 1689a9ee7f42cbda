"""Rows that deny their label, such as ``000.png,dog,0`` in a table with the columns image, label and present.

Melted tables have a row for each image and each label, and a column that says whether the label holds. Open Images
lists labels that people have confirmed (Confidence 1) and rejected (0). Read without that column, a rejected label
becomes a label.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.columns.several.stated_labels import (
    SAYS_NO,
    ImageRows,
    is_statement,
    named_statements,
    truth_of,
)
from trainer.data.readers.columns.several_labels import NO_LABELS
from trainer.formats.delimited import Table
from trainer.formats.labels import SeveralLabels, is_missing

_UNSURE = 0.5  # a confidence below which a label is doubtful
_RATERS = frozenset((
    "annotator", "rater", "reader", "user", "worker", "expert", "labeler", "labeller", "observer", "doctor", "grader",
    "reviewer", "round", "fold", "view",
))  # fmt: skip
"""First words of columns that say who labels an image, or how often, not with what."""
_DETAILS = frozenset((
    "occluded", "isoccluded", "truncated", "istruncated", "difficult", "isdifficult", "isgroupof", "iscrowd", "crowd",
    "isdepiction", "isinside", "pose", "flipped", "augmented",
))  # fmt: skip
"""Columns, without blanks and underscores, that describe an object that is there."""


def without_denied_rows(
    table: Table, first: int, names: Sequence[str], columns: Columns, asked: SeveralLabels
) -> tuple[Table, list[str]]:
    """The table without the rows that deny their label, and warnings that count them.

    An image all of whose rows deny their labels has no label if several are asked for and each image has a row for each
    label; otherwise it is left out.

    Args:
        first: index of the first row with an image.
        columns: with how several labels are listed.
        asked: the user's setting of several labels.

    Raises:
        DataError: a cell says neither yes nor no, several columns may say it, or the column of labels is the one that
            says it.
    """
    if columns.label is None:
        return table, []
    where, label, rows = table.name, columns.label, table.rows[first:]
    free = _free(names, columns)
    images = ImageRows(rows, columns.image)
    _refuse_statement_as_labels(where, names, images, label, free)
    column = _column_of(where, names, images, label, free)
    if column is None:
        return table, _doubts(where, names, images, label, free)
    said = _statements(table, first, names, label, column)
    denied = {i for i, value in enumerate(said) if value == 0.0}
    warnings = _doubtful_rows(where, names[column], rows, label, column, said)
    if not denied:
        return table, warnings
    example = rows[min(denied)][column].strip()
    warnings.append(
        f"{where}: {len(denied)} of {len(rows)} rows are no labels, because {names[column]!r} holds {example!r} there; "
        "if the column says something else, remove it from the table"
    )
    counts: dict[str, int] = defaultdict(int)  # labels that are left, by image
    for i, row in enumerate(rows):
        counts[row[columns.image]] += i not in denied
    none = [image for image, count in counts.items() if not count]
    several = [image for image, count in counts.items() if count > 1]
    full = images.is_full(label, most=True)
    if full and asked == "auto" and columns.lists is None and (none or several):
        raise DataError(
            f"{where}: by the column {names[column]!r}, {len(several)} images have several labels and {len(none)} have "
            "none; add --several-labels yes (data.several_labels) if an image may have any number of labels, or no"
        )
    empty = set(none) if full and columns.lists is not None else set()
    if len(none) > len(empty):
        warnings.append(
            f"{where}: left out: {counted(len(none), 'image')}, such as {none[0]!r}, because no row gives a label"
        )
    left = _left(table, first, columns, denied, empty)
    if len(left.rows) == first:
        raise DataError(f"{where}: no row gives a label, because {names[column]!r} holds {example!r} in all of them")
    return left, warnings


def _statements(table: Table, first: int, names: Sequence[str], label: int, column: int) -> list[float]:
    """How far the label of each row holds by a column, 0 to 1.

    Raises:
        DataError: the column says which labels do not hold, or a cell says nothing.
    """
    name, rows = names[column], table.rows[first:]
    if plain_name(name) in SAYS_NO:
        raise DataError(
            f"{table.name}: the column {name!r} seems to say which labels do not hold. Write a column 'present' "
            "in its place, with 1 where the label holds and 0 where it does not"
        )
    cells = [row[column].strip() for row in rows]
    truth = truth_of(cells)
    said = [truth(cell) for cell in cells]
    forgotten = any(cell and value == 0.0 for cell, value in zip(cells, said, strict=True))
    problems = [
        f"{table.row_name(first + i)}: {cells[i]!r} in the column {name!r} does not say whether the label "
        f"{rows[i][label].strip()!r} holds: write 1 or 0, or remove the row"
        for i, value in enumerate(said)
        if value is None or (forgotten and is_missing(cells[i]))
    ]
    if problems:
        raise DataError(problems)
    return [value for value in said if value is not None]


def _doubtful_rows(
    where: str, name: str, rows: Sequence[Sequence[str]], label: int, column: int, said: Sequence[float]
) -> list[str]:
    """A warning about labels of low confidence."""
    low = [row for row, value in zip(rows, said, strict=True) if 0.0 < value < _UNSURE]
    if not low:
        return []
    return [
        f"{where}: {len(low)} rows have less than {_UNSURE:g} in {name!r}, such as {low[0][column].strip()} for "
        f"{low[0][label].strip()!r}: they count as labels; remove the rows that are none"
    ]


def _left(table: Table, first: int, columns: Columns, denied: Collection[int], empty: Collection[str]) -> Table:
    """The rows that are not denied, and one row without labels for each of the images ``empty``."""
    assert columns.label is not None, "a column holds the labels"
    kept, numbers, pending = list(table.rows[:first]), list(table.numbers[:first]), set(empty)
    for i, row in enumerate(table.rows[first:]):
        if row[columns.image] in pending:
            pending.remove(row[columns.image])
            row = (*row[: columns.label], NO_LABELS, *row[columns.label + 1 :])
        elif i in denied:
            continue
        kept.append(row)
        numbers.append(table.numbers[first + i])
    return dataclasses.replace(table, rows=tuple(kept), numbers=tuple(numbers))


def refuse_all_labels(table: Table, first: int, names: Sequence[str], columns: Columns, asked: SeveralLabels) -> None:
    """Raise a DataError if each image has a row for each label: then another column says which labels hold, or none."""
    free = [names[c] for c in _free(names, columns)]
    if columns.label is None or (asked == "auto" and not free):  # without the option, each image gets a warning
        return
    images = ImageRows(table.rows[first:], columns.image)
    if images.is_full(columns.label):
        raise DataError(
            f"{table.name}: each of the {len(images)} images has a row for each of the labels "
            f"{listed(sorted(images.values(columns.label)), 6)}, so the rows do not tell the images apart"
            + f"; {listed(free)} may say which labels hold" * bool(free)
            + ". Remove the rows whose label does not hold, or write 1 and 0 into a column called 'present'"
        )


def _free(names: Sequence[str], columns: Columns) -> list[int]:
    """The columns without a use."""
    taken = {columns.id, columns.image, columns.label, columns.group, columns.part}
    return [column for column in range(len(names)) if column not in taken]


def _column_of(where: str, names: Sequence[str], images: ImageRows, label: int, free: Sequence[int]) -> int | None:
    """The column that says whether the label of a row holds; None without one."""
    found = named_statements(names, images, free)
    if not found and images.is_full(label, most=True):
        found = [
            column
            for column in free
            if is_statement(images.cells(column), binary=True)
            and images.varies(column)
            and not _is_detail(names[column])
        ]
    if len(found) > 1:
        raise DataError(
            f"{where}: each of the columns {listed(names[c] for c in found)} may say whether the label of a row holds; "
            "remove all but one from the table"
        )
    return found[0] if found else None


def _refuse_statement_as_labels(
    where: str, names: Sequence[str], images: ImageRows, label: int, free: Iterable[int]
) -> None:
    """Raise a DataError if the labels say for each value of another column whether it holds."""
    if not (is_statement(images.cells(label), binary=True) and images.varies(label)):
        return
    asked = [c for c in free if images.is_full(c, most=True) and plain_name(names[c]).split("_")[0] not in _RATERS]
    if asked:
        name = names[asked[0]]
        raise DataError(
            f"{where}: {names[label]!r} seems to say whether an image has the label in {name!r}, because each "
            f"image has a row for each of {listed(sorted(images.values(asked[0])), 4)}. Choose the labels with "
            f"--label-column {name} (data.label_column); if {name!r} holds none, remove it from the table"
        )


def _doubts(where: str, names: Sequence[str], images: ImageRows, label: int, free: Collection[int]) -> list[str]:
    """A warning for each column that may say whether the label of a row holds, where images have several rows."""
    if not images.repeat:
        return []
    return [
        f"{where}: {names[c]!r} holds {listed(sorted(images.values(c)), 3)} in different rows of an image; each row "
        "counts as a label. If the column says which labels hold, remove the rows whose label does not, or call the "
        "column 'present'"
        for c in free
        if is_statement(images.cells(c), binary=True) and images.varies(c) and not _is_detail(names[c])
    ]


def _is_detail(name: str) -> bool:
    return plain_name(name).replace("_", "") in _DETAILS
