"""Derive the format of a submission from a sample submission."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from trainer.common.errors import DataError, listed
from trainer.formats.delimited import Table
from trainer.formats.labels import is_integer
from trainer.formats.submission import Kind, SubmissionFormat, is_probability


def read_sample(
    table: Table, *, has_header: bool, id_column: str | None, class_names: Sequence[str]
) -> tuple[SubmissionFormat, tuple[str, ...]]:
    """The format of a sample submission, and warnings about values that match no training label.

    Args:
        has_header: whether the first row is a header.
        id_column: name of the training table's id column. Where the sample has this column, it holds the ids; else the
            first column does.
        class_names: the training labels.

    Raises:
        DataError: an id that is empty or occurs twice, no prediction column, or prediction columns that do not match
            the classes. Rows and columns are named.
    """
    header = table.rows[0] if has_header else None
    name = table.path.name
    if table.width < 2:
        raise DataError(f"{name} has one column; an id column and at least one prediction column are expected")
    first = 1 if has_header else 0
    if len(table.rows) == first:
        raise DataError(f"{name} has a header but no rows; one row per test image is expected")
    id_position = header.index(id_column) if header and id_column in header else 0
    form = SubmissionFormat(
        source=name,
        header=header,
        ids=_read_ids(table, first, id_position),
        id_position=id_position,
        delimiter=table.delimiter,
        newline=table.newline,
        bom=table.bom,
    )
    if table.width == 2:
        values = {row[1 - id_position].strip() for row in table.rows[first:]} - {""}
        kind, warnings = _single_column_kind(name, values, class_names)
        return dataclasses.replace(form, kind=kind), warnings
    if header is not None:
        columns = [cell for column, cell in enumerate(header) if column != id_position]
        return dataclasses.replace(form, kind="probabilities", class_columns=_match(name, columns, class_names)), ()
    if table.width - 1 != len(class_names):
        raise DataError(
            f"{name} has no header and {table.width - 1} prediction columns, but there are "
            f"{len(class_names)} classes: {listed(class_names)}"
        )
    form = dataclasses.replace(form, kind="probabilities", class_columns=tuple(range(len(class_names))))
    order = f"{name} has no header: its columns are assumed to be {listed(class_names)}, in that order"
    return form, (order,)


def _read_ids(table: Table, first: int, id_position: int) -> tuple[str, ...]:
    """The ids of the rows from index ``first`` on; an empty or repeated id is a DataError."""
    ids = tuple(row[id_position] for row in table.rows[first:])
    problems: list[str] = []
    seen: dict[str, int] = {}
    for index, identifier in enumerate(ids, first):
        if not identifier.strip():
            problems.append(f"{table.row_name(index)} has no id")
        elif identifier in seen:
            problems.append(f"{table.row_name(index)}: the id {identifier!r} was already in row {seen[identifier]}")
        seen.setdefault(identifier, table.numbers[index])
    if problems:
        raise DataError(problems)
    return ids


def _single_column_kind(name: str, values: set[str], class_names: Sequence[str]) -> tuple[Kind | None, tuple[str, ...]]:
    """The kind of a single prediction column by its values (None: undecided), and warnings."""
    classes = set(class_names)
    if values <= classes:
        # A placeholder 0 does not decide for classes 0 and 1: the column may take labels or probabilities.
        if not values or classes == {"0", "1"}:
            return None, ()
        return ("integer" if all(is_integer(label) for label in classes) else "label"), ()
    if len(classes) == 2 and all(is_probability(value) for value in values):
        if any(not is_integer(value) for value in values):
            return "probability", ()
    elif values & classes:
        unknown = sorted(values - classes)
        warning = f"{name} holds {listed(unknown)}, which is not a label of any training image"
        return ("integer" if all(is_integer(label) for label in classes) else "label"), (warning,)
    warning = (
        f"{name} holds {listed(sorted(values), 3)}, which is not a label of any training image and counts as a "
        "placeholder: the submission will hold training labels, or the probability of "
        f"{class_names[-1]!r} if the metric needs probabilities"
    )
    return None, (warning,)


def _match(name: str, columns: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    """The class of each column.

    Columns and classes are matched by name, else by name without case and punctuation. If one side has bare numbers,
    they are matched last by the number at the end (``Class_1`` for the label 1).
    """
    keys: list[Callable[[str], str]] = [str, _plain]
    if all(map(is_integer, columns)) or all(map(is_integer, class_names)):
        keys.append(_number_at_end)
    for key in keys:
        index = {key(label): position for position, label in enumerate(class_names)}
        found = [index[key(column)] for column in columns if key(column) in index]
        if len(index) == len(set(found)) == len(found) == len(columns) == len(class_names):
            return tuple(found)
    known = {_plain(label) for label in class_names}
    given = {_plain(column) for column in columns}
    problems = []
    if extra := [column for column in columns if _plain(column) not in known]:
        problems.append(f"{name} has the columns {listed(extra)}, but no training image has such a label")
    if missing := [label for label in class_names if _plain(label) not in given]:
        problems.append(f"{name} has no column for the training labels {listed(missing)}")
    raise DataError(problems or f"the columns of {name} cannot be matched with the labels {listed(class_names)}")


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _number_at_end(text: str) -> str:
    found = re.search(r"\d+$", text)
    return str(int(found.group())) if found else text
