"""What a sample submission says about the form of a submission."""

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
    """The form of a sample submission, and warnings about what in it could not be matched with the training labels.

    ``id_column`` is the name of the training table's id column: where the sample has it too, it holds the ids;
    otherwise the first column does.

    Raises:
        DataError: an id that is empty or given twice, no prediction column, or prediction columns that are not the
            classes; rows and columns are named.
    """
    header = table.rows[0] if has_header else None
    name = table.path.name
    if table.width < 2:
        raise DataError(f"{name} has one column; an id column and at least one prediction column are expected")
    first = 1 if has_header else 0
    if len(table.rows) == first:
        raise DataError(f"{name} has a header but no rows; one row per test image is expected")
    id_position = header.index(id_column) if header and id_column in header else 0
    ids = tuple(row[id_position] for row in table.rows[first:])
    problems: list[str] = []
    seen: dict[str, int] = {}
    for index, identifier in enumerate(ids, first):
        if not identifier.strip():
            problems.append(f"{table.row_name(index)} has no id")
        elif identifier in seen:
            problems.append(
                f"{table.row_name(index)}: the id {identifier!r} was given in row {seen[identifier]} already"
            )
        seen.setdefault(identifier, table.numbers[index])
    if problems:
        raise DataError(problems)
    form = SubmissionFormat(
        source=name,
        header=header,
        ids=ids,
        id_position=id_position,
        delimiter=table.delimiter,
        newline=table.newline,
        bom=table.bom,
    )
    predictions = [
        [cell.strip() for column, cell in enumerate(row) if column != id_position] for row in table.rows[first:]
    ]
    if table.width > 2:
        if header is None:
            if table.width - 1 != len(class_names):
                raise DataError(
                    f"{name} has no header and {table.width - 1} prediction columns, but there are "
                    f"{len(class_names)} classes: {listed(class_names)}"
                )
            form = dataclasses.replace(form, kind="probabilities", class_columns=tuple(range(len(class_names))))
            order = f"{name} has no header: its columns are taken to be {listed(class_names)}, in that order"
            return form, (order,)
        columns = [cell for column, cell in enumerate(header) if column != id_position]
        return dataclasses.replace(form, kind="probabilities", class_columns=_match(name, columns, class_names)), ()
    kind, warnings = _single_column_kind(name, {row[0] for row in predictions} - {""}, class_names)
    return dataclasses.replace(form, kind=kind), warnings


def _single_column_kind(name: str, values: set[str], class_names: Sequence[str]) -> tuple[Kind | None, tuple[str, ...]]:
    classes = set(class_names)
    if values <= classes:
        # A sample full of 0 says nothing about 0/1 classes: such columns take labels or probabilities.
        if not values or classes == {"0", "1"}:
            return None, ()
        return ("integer" if all(is_integer(label) for label in classes) else "label"), ()
    if len(classes) == 2 and all(is_probability(value) for value in values):
        if any(not is_integer(value) for value in values):
            return "probability", ()
    elif values & classes:
        unknown = sorted(values - classes)
        warning = f"{name} holds {listed(unknown)}, which no training image is labelled with"
        return ("integer" if all(is_integer(label) for label in classes) else "label"), (warning,)
    warning = (
        f"{name} holds {listed(sorted(values), 3)}, which no training image is labelled with; taken for a placeholder: "
        "the submission will hold the training labels, or the probability of "
        f"{class_names[-1]!r} where the metric asks for one"
    )
    return None, (warning,)


def _match(name: str, columns: Sequence[str], class_names: Sequence[str]) -> tuple[int, ...]:
    """The class of each column, by name; where that fails without regard to case and punctuation, or, where one side
    has bare numbers, by the number at the end (``Class_1`` for the label 1)."""
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
