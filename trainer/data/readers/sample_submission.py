"""Derive the format of a submission from a sample submission."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.label_names import is_usual_label
from trainer.data.readers.columns.several_labels import SEPARATORS, parts_of
from trainer.data.readers.matching.id_spellings import composed
from trainer.formats.delimited import Table
from trainer.formats.labels import is_integer, is_number, natural_key, spelled_as_among
from trainer.formats.submission import NO_CLASS, Kind, SubmissionFormat, is_probability

_PREDICTED = ("prediction", "predictions", "predicted", "pred", "answer", "result")


def read_sample(
    table: Table,
    *,
    has_header: bool,
    id_column: str | None,
    class_names: Sequence[str],
    label_column: str = "label",
    separator: str | None = None,
) -> tuple[SubmissionFormat, tuple[str, ...]]:
    """The format of a sample submission, and warnings about values that match no training label.

    Args:
        has_header: whether the first row is a header.
        id_column: name of the training table's id column. Where the sample has this column, it holds the ids; else the
            first column does.
        class_names: the training labels.
        label_column: name of the training table's label column. Of several columns besides the ids, the one with this
            or another usual name holds the labels, if they are not one column per class; the others stay as they are.

        separator: between several labels of a training image in one cell; None: each image has one label.

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
        separator=separator,
    )
    recoded: tuple[str, ...] = (
        () if table.encoding == "utf-8" else (f"{name} is {table.encoding} text; submissions are UTF-8",)
    )
    if table.width > 2 and header is not None:
        predicted = _label_position(header, id_position, label_column, class_names)
        if predicted is None:
            columns = [cell for column, cell in enumerate(header) if column != id_position]
            class_columns, warnings = _match(name, columns, class_names)
            kind = _kind_of_columns(table, first, id_position, several=separator is not None)
            return dataclasses.replace(form, kind=kind, class_columns=class_columns), (*recoded, *warnings)
        others = [column for column in range(table.width) if column not in (id_position, predicted)]
        fixed = {column: tuple(row[column] for row in table.rows[first:]) for column in others}
        form = dataclasses.replace(form, fixed=fixed)
        recoded += (f"{name}: {listed(header[column] for column in others)} in a submission: as in the sample",)
    if table.width == 2 or form.fixed:
        position = next(column for column in range(table.width) if column != id_position and column not in form.fixed)
        values = {row[position].strip() for row in table.rows[first:]} - {""}
        if separator is not None:
            return dataclasses.replace(
                form, kind="labels", separator=_separator(values, class_names, separator)
            ), recoded
        kind, warnings = _single_column_kind(name, values, class_names)
        return dataclasses.replace(form, kind=kind), (*recoded, *warnings)
    if table.width - 1 != len(class_names):
        raise DataError(
            f"{name} has no header and {table.width - 1} prediction columns, but there are "
            f"{len(class_names)} classes: {listed(class_names)}"
        )
    kind = _kind_of_columns(table, first, id_position, several=separator is not None)
    form = dataclasses.replace(form, kind=kind, class_columns=tuple(range(len(class_names))))
    order = f"{name} has no header: its columns are assumed to be {listed(class_names)}, in that order"
    return form, (*recoded, order)


def _kind_of_columns(table: Table, first: int, id_position: int, *, several: bool) -> Kind | None:
    """The kind of class columns. Of several labels only fractions decide: 0 and 1 may be placeholders of both kinds."""
    if not several:
        return "probabilities"
    cells = {cell for row in table.rows[first:] for column, cell in enumerate(row) if column != id_position}
    return "probabilities" if any(is_number(cell.strip()) and float(cell) % 1.0 for cell in cells) else None


def _separator(values: set[str], class_names: Sequence[str], separator: str) -> str:
    """The separator of the sample's cells, if they list known classes; else that of the training table."""
    known = set(class_names)
    for mark in dict.fromkeys((separator, *SEPARATORS)):
        if any(len(parts := parts_of(cell, mark)) > 1 and known.issuperset(parts) for cell in values):
            return mark
    return separator


def _label_position(
    header: Sequence[str], id_position: int, label_column: str, class_names: Sequence[str]
) -> int | None:
    """The only column with a name for labels; None without one, or where columns have the names of classes."""
    classes = {_plain(name) for name in class_names}
    free = [column for column in range(len(header)) if column != id_position]
    if any(_plain(header[column]) in classes for column in free):
        return None
    named = [column for column in free if header[column] == label_column]
    usual = [column for column in free if is_usual_label(header[column]) or _plain(header[column]) in _PREDICTED]
    found = named or usual
    return found[0] if len(found) == 1 else None


def spelled_as_in(sample: Table | None, labels: Sequence[str]) -> list[str]:
    """The labels, in the sample's Unicode form where it holds them in another one, so that a submission has it, too."""
    if sample is None:
        return list(labels)
    cells = {cell.strip() for row in sample.rows for cell in row}
    return list(map(spelled_as_among(cells), labels))


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
    numbers = sorted(values, key=natural_key)
    if len(numbers) > 1 and all(map(is_integer, numbers)) and not all(map(is_number, classes)):
        raise DataError(
            f"{name} holds {listed(numbers, 3)}, which look like numbers of classes, but the training labels are "
            f"{listed(class_names, 3)}. If a column of the training table holds these numbers, choose it with "
            "--label-column NAME (data.label_column); else write one and the same value into all rows of the sample"
        )
    warning = (
        f"{name} holds {listed(sorted(values), 3)}, which is not a label of any training image and counts as a "
        "placeholder: the submission will hold training labels, or the probability of "
        f"{class_names[-1]!r} if the metric needs probabilities"
    )
    return None, (warning,)


def _match(name: str, columns: Sequence[str], class_names: Sequence[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The class of each column, and warnings.

    Columns and classes are matched by name, else by name without case and punctuation. If one side has bare numbers,
    they are matched last by the number at the end (``Class_1`` for the label 1). If every class has its column, another
    column is that of a class without a training image, and gets `NO_CLASS`.
    """
    keys: list[Callable[[str], str]] = [str, composed, _plain]
    if all(map(is_integer, columns)) or all(map(is_integer, class_names)):
        keys.append(_number_at_end)
    for key in keys:
        index = {key(label): position for position, label in enumerate(class_names)}
        found = [index.get(key(column), NO_CLASS) for column in columns]
        matched = [position for position in found if position != NO_CLASS]
        if len(index) == len(set(matched)) == len(matched) == len(class_names):
            empty = [column for column, position in zip(columns, found, strict=True) if position == NO_CLASS]
            if not empty:
                return tuple(found), ()
            warning = f"{name} has the columns {listed(empty)}, but no training image has such a label: always 0"
            return tuple(found), (warning,)
    known = {_plain(label) for label in class_names}
    given = {_plain(column) for column in columns}
    problems = []
    if extra := [column for column in columns if _plain(column) not in known]:
        problems.append(f"{name} has the columns {listed(extra)}, but no training image has such a label")
    if missing := [label for label in class_names if _plain(label) not in given]:
        problems.append(f"{name} has no column for the training labels {listed(missing)}")
    raise DataError(problems or f"the columns of {name} cannot be matched with the labels {listed(class_names)}")


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", composed(text)).casefold()


def _number_at_end(text: str) -> str:
    found = re.search(r"\d+$", text)
    return str(int(found.group())) if found else text
