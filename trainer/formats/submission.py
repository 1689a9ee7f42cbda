"""The form of a submission, copied from the sample; writing one and checking what was written.

A submission is a table with one row per test image: the id, then either one column (a label, or the probability of
the positive of two classes) or one probability column per class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.formats.delimited import read_table, write_table
from trainer.formats.labels import is_integer

Kind = Literal["label", "integer", "probabilities", "probability"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""label: class names; integer: class names that are whole numbers; probabilities: one column per class; probability:
one column, of the positive one of two classes."""


class SubmissionError(DataError):
    """A submission that cannot be written in the form asked for, or a file that does not have the sample's form."""


@dataclass(frozen=True, kw_only=True)
class SubmissionFormat:
    """How a submission looks; made by `trainer.data.readers.sample_submission.read_sample` or `default_format`.

    source: name of the sample file; None where there was none and the training table was followed.
    header: the header's cells; None for a table without one.
    ids: the test ids in the order in which they are written, exactly as the sample has them.
    id_position: which column holds the id.
    kind: None where the sample does not decide (`decide_kind` then asks the metric).
    class_columns: for each prediction column from left to right the index of its class; empty with a single column.
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


def default_format(
    *, id_header: str, label_header: str, ids: Sequence[str], class_columns: Sequence[str], class_names: Sequence[str]
) -> SubmissionFormat:
    """A form for data without a sample, in the words of the training table.

    ``class_columns`` are the table's own one-hot or probability columns in its order, empty where it has labels.
    """
    if not class_columns:
        return SubmissionFormat(source=None, header=(id_header, label_header), ids=tuple(ids))
    return SubmissionFormat(
        source=None,
        header=(id_header, *class_columns),
        ids=tuple(ids),
        kind="probabilities",
        class_columns=tuple(list(class_names).index(column) for column in class_columns),
    )


def decide_kind(
    form: SubmissionFormat,
    class_names: Sequence[str],
    metric_needs: Literal["labels", "probabilities"],
    override: str | None = None,
) -> Kind:
    """What the prediction columns hold: what a person asks for, else what the sample shows, else what the metric needs.

    Raises:
        SubmissionError: an override that does not exist or does not fit the classes.
    """
    labels: Kind = "integer" if all(is_integer(name) for name in class_names) else "label"
    if override is not None:
        kind = next((kind for kind in KINDS if kind == override), None)
        if kind is None:
            raise SubmissionError(f"the submission kind cannot be {override!r}; valid: {', '.join(KINDS)}")
        if kind == "probability" and len(class_names) != 2:
            raise SubmissionError(
                f"a single probability column needs two classes; here are {len(class_names)}. "
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


def write_submission(
    path: Path,
    form: SubmissionFormat,
    class_names: Sequence[str],
    ids: Sequence[str],
    proba: NDArray[np.floating[Any]],
    kind: Kind,
) -> None:
    """Write a submission from class probabilities (m, C), row i of which belongs to ``ids[i]``.

    The file appears whole or not at all. Labels are the classes of highest probability, the first on a tie.

    Raises:
        SubmissionError: ``ids`` are not the sample's, in its order; or ``proba`` has the wrong shape or holds values
            that are not finite.
    """
    if tuple(ids) != form.ids:
        raise SubmissionError("the ids of the predictions are not those of the sample submission, in its order")
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
    else:
        cells = [[f"{value:.8g}" for value in row] for row in proba[:, list(classes)]]
    for identifier, row_cells in zip(form.ids, cells, strict=True):
        row_cells.insert(form.id_position, identifier)
    rows = cells if header is None else [list(header), *cells]
    write_table(path, rows, delimiter=form.delimiter, newline=form.newline, bom=form.bom)


def check_submission(path: Path, form: SubmissionFormat, class_names: Sequence[str], kind: Kind) -> None:
    """Read a submission back and compare it with the sample's form.

    Raises:
        SubmissionError: another header, other ids or another order, a missing value, an unknown label, or a probability
            that is not a number 0..1; all rows are named.
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
    width = 2 if kind in ("label", "integer") else 1 + len(classes)
    if table.width != width:
        raise SubmissionError(f"{path.name} has {table.width} columns, not {width}")
    known = set(class_names)
    problems: list[str] = []
    for number, row, expected in zip(numbers, rows, form.ids, strict=True):
        if row[form.id_position] != expected:
            problems.append(f"{path.name} row {number}: the id is {row[form.id_position]!r}, not {expected!r}")
        for cell in (cell for column, cell in enumerate(row) if column != form.id_position):
            if not cell.strip():
                problems.append(f"{path.name} row {number} has no value")
            elif kind in ("label", "integer"):
                if cell not in known:
                    problems.append(f"{path.name} row {number}: {cell!r} is not a label of the training images")
            elif not is_probability(cell):
                problems.append(f"{path.name} row {number}: {cell!r} is not a probability 0..1")
    if problems:
        raise SubmissionError(problems)


def _layout(form: SubmissionFormat, class_names: Sequence[str], kind: Kind) -> tuple[tuple[str, ...] | None, list[int]]:
    """Header (None: none) and the class of each prediction column (unused for labels) of a submission of this kind."""
    single = not form.class_columns
    id_header = form.header[form.id_position] if form.header else None

    def header(names: Sequence[str]) -> tuple[str, ...] | None:
        if id_header is None:
            return None
        cells = list(names)
        cells.insert(form.id_position, id_header)
        return tuple(cells)

    if kind == "probabilities":
        if single:
            return header(class_names), list(range(len(class_names)))
        return form.header, list(form.class_columns)
    positive = _positive_class(form, class_names)
    if single:
        return form.header, [positive]
    return header(["label"] if kind in ("label", "integer") else [class_names[positive]]), [positive]


def _positive_class(form: SubmissionFormat, class_names: Sequence[str]) -> int:
    """Whose probability a single column holds: the class it is named after, else the last one (1 of 0 and 1)."""
    named = [column for column in form.header or () if column in class_names]
    return list(class_names).index(named[0]) if len(named) == 1 else len(class_names) - 1


def is_probability(text: str) -> bool:
    """Whether a cell is a number 0..1."""
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and 0.0 <= value <= 1.0
