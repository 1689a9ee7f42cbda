"""Write a submission in the format of the sample submission, and check a written one.

A submission is a table with one row per test image: the id, then prediction columns. There is either one prediction
column (a label, or the probability of the positive one of two classes) or one probability column per class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.formats.delimited import read_table, write_table
from trainer.formats.labels import is_integer

Kind = Literal["label", "integer", "probabilities", "probability", "labels", "indicators"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Contents of the prediction columns.

label: one column of class names. integer: one column of class names that are whole numbers. probabilities: one column
per class. probability: one column with the probability of the positive one of two classes.

Three of them are for images with several labels. probabilities: as above. labels: one column, whose cells list labels.
indicators: one column per class, 1 where an image has the label, else 0.
"""


OF_SEVERAL: tuple[Kind, ...] = ("labels", "indicators")
"""Kinds that hold the labels of images with several."""
OF_ONE: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind not in OF_SEVERAL)
"""Kinds for images with one label each."""
LABEL_KINDS: tuple[Kind, ...] = ("label", "integer", *OF_SEVERAL)
"""Kinds that hold labels, by the label rule, in place of probabilities."""
_OF_LABELS = ("label", "integer", "labels")  # one column of labels
NO_CLASS = -1
"""In place of a class index: no training image has the class of this column, so that its probability is 0."""


class SubmissionError(DataError):
    """A submission that cannot be written as requested, or a file that does not have the sample's format."""


@dataclass(frozen=True, kw_only=True)
class SubmissionFormat:
    """The format of a submission file, from a sample submission or from `default_format`.

    source: name of the sample file; None for `default_format`.
    header: the header's cells; None for a table without a header.
    ids: the test ids in the order of the rows, exactly as the sample spells them.
    id_position: position of the id column, from 0.
    delimiter, newline, bom: as in `trainer.formats.delimited.Table`.
    kind: contents of the prediction columns. None where the sample does not decide; `decide_kind` then asks the metric.
    class_columns: class index of each prediction column, from left to right; `NO_CLASS` for a column whose class has no
        training image; empty for a single prediction column.
    separator: between the labels of a cell, where an image may have several; None where each image has one.
    fixed: cells of the columns that are neither ids nor predictions, by position; written as the sample has them.
    """

    source: str | None
    header: tuple[str, ...] | None
    ids: tuple[str, ...]
    id_position: int = 0
    delimiter: str = ","
    newline: str = "\n"
    bom: bool = False
    kind: Kind | None = None
    class_columns: tuple[int, ...] = ()
    separator: str | None = None
    fixed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def default_format(
    *,
    id_header: str,
    label_header: str,
    ids: Sequence[str],
    class_columns: Sequence[str],
    class_names: Sequence[str],
    separator: str | None = None,
) -> SubmissionFormat:
    """The format for data without a sample submission: with the column names of the training table.

    Args:
        class_columns: names of the training table's one-hot or probability columns, in its order; empty where it has a
            column of labels.
    """
    if not class_columns:
        return SubmissionFormat(source=None, header=(id_header, label_header), ids=tuple(ids), separator=separator)
    return SubmissionFormat(
        source=None,
        header=(id_header, *class_columns),
        ids=tuple(ids),
        kind="probabilities" if separator is None else None,
        separator=separator,
        class_columns=tuple(
            list(class_names).index(column) if column in class_names else NO_CLASS for column in class_columns
        ),
    )


def decide_kind(
    form: SubmissionFormat,
    class_names: Sequence[str],
    metric_needs: Literal["labels", "probabilities"],
    override: str | None = None,
) -> Kind:
    """The contents of the prediction columns: the user's ``override``, else the sample's kind, else the metric's need.

    Raises:
        SubmissionError: the override does not exist or does not fit the classes.
    """
    if form.separator is not None:
        return _kind_of_several(form, class_names, metric_needs, override)
    labels: Kind = "integer" if all(is_integer(name) for name in class_names) else "label"
    if override is not None:
        kind = next((kind for kind in KINDS if kind == override), None)
        if kind is None or kind in OF_SEVERAL:
            raise SubmissionError(f"the submission kind cannot be {override!r}; valid: {', '.join(OF_ONE)}")
        if kind == "probability" and len(class_names) != 2:
            raise SubmissionError(
                f"a single probability column needs two classes, but there are {len(class_names)}. "
                "Choose probabilities (one column per class) or label"
            )
        if kind == "integer" and labels != "integer":
            raise SubmissionError(f"the classes are not whole numbers but {listed(class_names)}; choose label")
        return kind
    if form.kind is not None:
        return form.kind
    if metric_needs == "labels":
        return labels
    if form.source is None:
        return "probabilities"
    return "probability" if len(class_names) == 2 else labels


def _kind_of_several(
    form: SubmissionFormat,
    class_names: Sequence[str],
    metric_needs: Literal["labels", "probabilities"],
    override: str | None,
) -> Kind:
    """`decide_kind` for images with several labels."""
    mark = form.separator or " "
    holding = next((name for name in class_names if mark in name), None)
    possible: tuple[Kind, ...] = ("probabilities", *OF_SEVERAL)
    if override is not None:
        kind = next((kind for kind in possible if kind == override), None)
        if kind is None:
            raise SubmissionError(
                f"the submission kind for several labels cannot be {override!r}; valid: {', '.join(possible)}"
            )
        if kind == "labels" and form.kind is None and holding is not None:
            raise SubmissionError(
                f"the submission kind cannot be labels: {mark!r} would separate them, and the class {holding!r} holds "
                "it. indicators writes a column for each label"
            )
        return kind
    if form.kind is not None:
        return form.kind
    if metric_needs == "probabilities":
        return "probabilities"
    return "indicators" if form.class_columns or holding is not None else "labels"


def write_submission(
    path: Path,
    form: SubmissionFormat,
    class_names: Sequence[str],
    ids: Sequence[str],
    proba: NDArray[np.floating[Any]],
    kind: Kind,
) -> None:
    """Write a submission from class probabilities (m, C); row i belongs to ``ids[i]``.

    A label is the class with the highest probability, the first one on a tie. Of several labels an image has those of a
    probability above 0.5. A failure leaves no partial file.

    Raises:
        SubmissionError: ``ids`` differ from those of ``form`` or are in another order, or ``proba`` has the wrong shape
            or a value that is not finite.
    """
    if tuple(ids) != form.ids:
        raise SubmissionError("the predictions have other ids than the sample submission, or another order")
    if proba.shape != (len(form.ids), len(class_names)):
        raise SubmissionError(
            f"the predictions have the shape {proba.shape}, not {len(form.ids)} images x {len(class_names)} classes"
        )
    if not np.isfinite(proba).all():
        row = int(np.flatnonzero(~np.isfinite(proba).all(axis=1))[0])
        raise SubmissionError(f"the prediction for {form.ids[row]!r} is not finite")
    header, classes = _layout(form, class_names, kind)
    if kind in ("label", "integer"):
        cells = [[class_names[best]] for best in proba.argmax(axis=1)]
    elif kind == "labels":
        mark = form.separator or " "
        cells = [[mark.join(name for name, p in zip(class_names, row, strict=True) if p > 0.5)] for row in proba]
    elif kind == "indicators":
        cells = [["1" if c != NO_CLASS and row[c] > 0.5 else "0" for c in classes] for row in proba]
    else:
        cells = [["0" if c == NO_CLASS else f"{row[c]:.8g}" for c in classes] for row in proba]
    fixed = _fixed(form, kind)
    for index, (identifier, row_cells) in enumerate(zip(form.ids, cells, strict=True)):
        others = {form.id_position: identifier} | {
            column: column_cells[index] for column, column_cells in fixed.items()
        }
        for column in sorted(others):
            row_cells.insert(column, others[column])
    rows = cells if header is None else [list(header), *cells]
    write_table(path, rows, delimiter=form.delimiter, newline=form.newline, bom=form.bom)


def check_submission(path: Path, form: SubmissionFormat, class_names: Sequence[str], kind: Kind) -> None:
    """Read a submission and compare it with the format ``form``.

    Raises:
        SubmissionError: another header, other ids or another order, a missing value, an unknown label, or a
            probability outside of 0..1. Every wrong row is named.
    """
    try:
        table = read_table(path, form.delimiter)
    except DataError as error:
        raise SubmissionError(error.problems) from error
    header, classes = _layout(form, class_names, kind)
    rows, numbers = list(table.rows), list(table.numbers)
    if header is not None:
        if rows[0] != header:
            raise SubmissionError(f"{path.name}: the header is {listed(rows[0])}, not {listed(header)}")
        del rows[0], numbers[0]
    if len(rows) != len(form.ids):
        raise SubmissionError(f"{path.name} has {len(rows)} predictions, the sample has {len(form.ids)}")
    fixed = _fixed(form, kind)
    width = 1 + len(fixed) + (1 if kind in _OF_LABELS else len(classes))
    if table.width != width:
        raise SubmissionError(f"{path.name} has {table.width} columns, not {width}")
    known = set(class_names)
    problems: list[str] = []
    for number, row, expected in zip(numbers, rows, form.ids, strict=True):
        if row[form.id_position] != expected:
            problems.append(f"{path.name} row {number}: the id is {row[form.id_position]!r}, not {expected!r}")
        for column, cell in enumerate(row):
            if column == form.id_position or column in fixed:
                continue
            if problem := _cell_problem(cell, kind, known, form.separator):
                problems.append(f"{path.name} row {number}{problem}")
    if problems:
        raise SubmissionError(problems)


def _cell_problem(cell: str, kind: Kind, known: Set[str], separator: str | None) -> str | None:
    """Why a prediction is wrong, to follow the name of its row; None if it is right. ``known`` are the class names."""
    if kind == "labels":
        unknown = set(cell.split(separator or " ")) - known - {""}
        return f": {min(unknown)!r} is not a label of the training images" if unknown else None
    if kind == "indicators":
        return None if cell in ("0", "1") else f": {cell!r} is neither 0 nor 1"
    if not cell.strip():
        return " has no value"
    if kind in ("label", "integer"):
        return None if cell in known else f": {cell!r} is not a label of the training images"
    return None if is_probability(cell) else f": {cell!r} is not a probability in 0..1"


def _layout(form: SubmissionFormat, class_names: Sequence[str], kind: Kind) -> tuple[tuple[str, ...] | None, list[int]]:
    """Header (None for a table without one) and class index of each prediction column (unused for labels)."""
    single = not form.class_columns
    fixed = _fixed(form, kind)
    id_header = form.header[form.id_position] if form.header else None

    def header(names: Sequence[str]) -> tuple[str, ...] | None:
        if id_header is None:
            return None
        cells = list(names)
        named = {form.id_position: id_header} | {column: (form.header or ())[column] for column in fixed}
        for column in sorted(named):
            cells.insert(column, named[column])
        return tuple(cells)

    if kind in ("probabilities", "indicators"):
        if single:
            return header(class_names), list(range(len(class_names)))
        return form.header, list(form.class_columns)
    positive = _positive_class(form, class_names)
    if single:
        return form.header, [positive]
    return header(["label"] if kind in _OF_LABELS else [class_names[positive]]), [positive]


def _fixed(form: SubmissionFormat, kind: Kind) -> Mapping[int, tuple[str, ...]]:
    """The fixed columns; none where the prediction columns are not those of the sample, so that positions differ."""
    own_columns = (kind in ("probabilities", "indicators")) == bool(form.class_columns)
    return form.fixed if own_columns else {}


def _positive_class(form: SubmissionFormat, class_names: Sequence[str]) -> int:
    """The class whose probability a single column holds: the one in the header, else the last one (1 of 0 and 1)."""
    named = [column for column in form.header or () if column in class_names]
    return list(class_names).index(named[0]) if len(named) == 1 else len(class_names) - 1


def is_probability(text: str) -> bool:
    """Whether a cell is a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and 0.0 <= value <= 1.0
