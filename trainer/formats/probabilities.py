"""Read tables of class probabilities from any source, and check every number.

A table has one row for each image: the id, then one column for each class. A column has the name of its class, or
``p_CLASS`` as in an export. The columns ``fold``, ``seed`` (several predictions of each image), ``y_true`` and
``y_pred`` are optional. Columns may be in any order, and texts in any Unicode form. Retable's exports have this form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.formats.delimited import Table, read_table
from trainer.formats.labels import spelled_as_among

MAX_BYTES = 512 * 2**20
"""Size of the largest file that is read, in bytes."""
SUM_TOLERANCE = 0.01
"""Largest accepted difference between 1 and the sum of an image's probabilities, which rounding can change."""
ID_COLUMNS = ("image_id", "id")
"""Names of the id column. A table without either has its ids in the first column."""
EXTRA_COLUMNS = ("fold", "seed", "y_true", "y_pred")
PREFIX = "p_"
"""Prefix of the class name in the columns of an export."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityTable:
    """Probabilities of n images for C classes by S seeds. Images and classes are in the order of the request."""

    proba: NDArray[np.float32]
    """``(S, n, C)``; each row sums to 1 unless images have several labels. S is 1 for a table without seeds."""
    folds: NDArray[np.int64] | None
    """Fold in which each image was held out, int64 ``(S, n)``, numbered from 0 by first occurrence for each seed. None
    for a table without the column ``fold``."""

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the seeds, float32 ``(n, C)``."""
        mean: NDArray[np.float64] = self.proba.mean(axis=0, dtype=np.float64)
        return mean.astype(np.float32)


def read_probabilities(
    path: Path,
    ids: Sequence[str],
    class_names: Sequence[str],
    *,
    what: str,
    labels: Sequence[str] = (),
    several: bool = False,
) -> ProbabilityTable:
    """Read the probabilities of the images ``ids``. The file must hold each image once, or once for each seed.

    Args:
        ids: the order of the images in the result.
        class_names: the order of the classes in the result.
        what: name of the images in messages, such as ``training image``.
        labels: class name of each image. If given, the column ``y_true`` of the file must agree.
        several: whether an image may have several labels, so that its probabilities add up to any number.

    Raises:
        DataError: the file cannot be read, its columns are not as described above, or rows are wrong. Every wrong row
            is named with its content.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise DataError(f"{path.name} has {size:,} bytes; up to {MAX_BYTES:,} are read")
    table = read_table(path)
    columns = _columns(table, class_names)
    table = _spelled_as(table, columns, ids, labels)
    true_labels = _comparable_labels(table, columns, dict(zip(ids, labels, strict=True)) if labels else {}, class_names)
    position = {name: index for index, name in enumerate(ids)}
    seeds, problems = _rows_by_seed(table, columns, position, true_labels, what)
    for seed, rows in seeds.items():
        absent = [name for name in ids if position[name] not in rows]
        if absent:
            of_seed = f" with seed {seed}" * (len(seeds) > 1)
            count = f"{len(absent)} of {len(ids)} {what}s{of_seed}"
            problems.append(f"{path.name} has no row for {count}: {listed(absent, 5)}")
    if not seeds:
        problems.append(f"{path.name} holds nothing but a header: {len(ids)} {what}s are expected")
    if problems:
        unknown = any(row[columns.id] not in position for row in table.rows[1:])
        raise DataError(problems, f"the ids of {what}s are {listed(ids, 3)}" if unknown else "")
    order = [[rows[index] for index in range(len(ids))] for rows in seeds.values()]
    proba = np.stack([_numbers(table, columns, rows, several=several) for rows in order])
    folds = None if columns.fold is None else np.stack([_folds(table, columns.fold, rows) for rows in order])
    return ProbabilityTable(proba=proba, folds=folds)


def _spelled_as(table: Table, columns: _Columns, ids: Sequence[str], labels: Sequence[str]) -> Table:
    """The table with ids and true labels in the Unicode form of the study."""
    spelled = {columns.id: spelled_as_among(ids)}
    if columns.y_true is not None:
        spelled[columns.y_true] = spelled_as_among(labels)
    rows = []
    for row in table.rows[1:]:
        cells = list(row)
        for column, spell in spelled.items():
            cells[column] = spell(cells[column])
        rows.append(tuple(cells))
    return replace(table, rows=(table.rows[0], *rows))


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Positions of the columns; ``classes`` are in the order of the request. None: there is no such column."""

    id: int
    classes: tuple[int, ...]
    fold: int | None
    seed: int | None
    y_true: int | None


def _comparable_labels(
    table: Table, columns: _Columns, labels: Mapping[str, str], class_names: Sequence[str]
) -> Mapping[str, str]:
    """``labels``; empty if there is no column ``y_true``, or if it holds no class names but, say, class numbers."""
    if columns.y_true is None or not {row[columns.y_true] for row in table.rows[1:]} & set(class_names):
        return {}
    return labels


def _rows_by_seed(
    table: Table, columns: _Columns, position: Mapping[str, int], true_labels: Mapping[str, str], what: str
) -> tuple[dict[str, dict[int, int]], list[str]]:
    """Group the rows by seed.

    Returns:
        For each seed, the row of each image, by the image's position in the request; and the problems of single rows.
    """
    problems: list[str] = []
    seeds: dict[str, dict[int, int]] = {}
    for index, row in enumerate(table.rows[1:], 1):
        name = row[columns.id]
        seed = "" if columns.seed is None else row[columns.seed].strip()
        rows = seeds.setdefault(seed, {})
        if name not in position:
            problems.append(f"{table.row_name(index)}: {name!r} is not a {what} of this study")
        elif position[name] in rows:
            of_seed = f" with seed {seed}" * (columns.seed is not None)
            first = table.numbers[rows[position[name]]]
            problems.append(f"{table.row_name(index)}: {name!r} occurs a second time{of_seed}, first in row {first}")
        else:
            rows[position[name]] = index
            if name in true_labels and columns.y_true is not None and row[columns.y_true] != true_labels[name]:
                found = f"y_true of {name!r} is {row[columns.y_true]!r}"
                problems.append(
                    f"{table.row_name(index)}: {found}, but its label in this study is {true_labels[name]!r}"
                )
    return seeds, problems


def _columns(table: Table, class_names: Sequence[str]) -> _Columns:
    """Find the columns by the header."""
    prefixed = [PREFIX + name for name in class_names]
    spelled = spelled_as_among((*class_names, *prefixed))
    header = [spelled(cell.strip()) for cell in table.rows[0]]
    repeated = sorted({cell for cell in header if header.count(cell) > 1})
    if repeated:
        raise DataError(f"{table.path.name} has two columns with the name {listed(repeated)}")
    column_of = {cell: position for position, cell in enumerate(header)}
    id_name = next((c for c in ID_COLUMNS if c in column_of and c not in class_names), None)
    id_column = column_of[id_name] if id_name is not None else 0
    with_prefix = any(name in column_of for name in prefixed) and not any(name in column_of for name in class_names)
    class_columns = prefixed if with_prefix or all(name in column_of for name in prefixed) else list(class_names)
    missing = [name for name in class_columns if column_of.get(name, id_column) == id_column]
    if missing and any(name in column_of for name in prefixed):
        missing = [name for name in prefixed if name not in column_of]
    used = {header[id_column], *class_columns, *EXTRA_COLUMNS}
    unknown = [cell for cell in header if cell not in used]
    if missing or unknown:
        problems = [f"{table.path.name} has no column {listed(missing)}"] if missing else []
        problems += [f"{table.path.name}: {listed(unknown)} is not a class of this study"] if unknown else []
        raise DataError(problems, f"expected: image_id, then one column for each class: {listed(class_names)}")
    extra: Mapping[str, int] = {
        name: column_of[name] for name in EXTRA_COLUMNS if name in column_of and name not in class_columns
    }
    return _Columns(
        id=id_column,
        classes=tuple(column_of[name] for name in class_columns),
        fold=extra.get("fold"),
        seed=extra.get("seed"),
        y_true=extra.get("y_true"),
    )


def _numbers(table: Table, columns: _Columns, rows: Sequence[int], *, several: bool) -> NDArray[np.float32]:
    """Probabilities in the order of ``rows``: float32 ``(n, C)``, normalised to sum 1 unless ``several`` labels."""
    highest = 1.0 if several else math.inf
    values = np.zeros((len(rows), len(columns.classes)))
    problems: list[str] = []
    any_negative, sums = False, []
    # Read the rows in the order of the file, so that the problems are listed in that order.
    for image, index in sorted(enumerate(rows), key=lambda pair: pair[1]):
        row, row_name = table.rows[index], table.row_name(index)
        cells = [row[position] for position in columns.classes]
        numbers = [_parse_number(cell) for cell in cells]
        wrong = [
            cell
            for cell, number in zip(cells, numbers, strict=True)
            if not 0.0 <= number <= highest or number == math.inf
        ]
        if wrong:
            any_negative |= any(number < 0.0 for number in numbers)
            cause = f"{wrong[0]!r} is not a probability" if wrong[0].strip() else "no value"
            problems.append(f"{row_name}: {cause}")
            continue
        total = math.fsum(numbers)
        sums.append(total)
        if not several and abs(total - 1.0) > SUM_TOLERANCE:
            problems.append(f"{row_name}: the probabilities of {row[columns.id]!r} add up to {total:.6g}, not to 1")
        values[image] = numbers
    if problems:
        advice = ""
        if any_negative:
            advice = "If these are logits, apply softmax; if they are log probabilities, apply exp"
        elif sums and all(abs(total - 100.0) <= 100.0 * SUM_TOLERANCE for total in sums):
            advice = "If these are percentages, divide them by 100"
        raise DataError(problems, advice)
    if several:
        return values.astype(np.float32)
    normalised: NDArray[np.float64] = values / values.sum(axis=1, keepdims=True)
    return normalised.astype(np.float32)


def _parse_number(cell: str) -> float:
    """The number in a cell; NaN if it holds none."""
    try:
        return float(cell) if "_" not in cell else math.nan  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _folds(table: Table, column: int, rows: Sequence[int]) -> NDArray[np.int64]:
    """Values of a column, numbered from 0 by first occurrence in ``rows``."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(table.rows[i][column].strip(), len(numbers)) for i in rows], np.int64)
