"""Tables of class probabilities that somebody else may have written: read, and checked number by number.

One row for each image: its id, then one column for each class, called by the class or, as an export calls it,
``p_CLASS``. The columns ``fold``, ``seed`` (several predictions of each image), ``y_true`` and ``y_pred`` may be there
as well, in any order, as `search.export.files` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.formats.delimited import Table, read_table

MAX_BYTES = 512 * 2**20
"""Largest file that is read."""
SUM_TOLERANCE = 0.01
"""How far from 1 the probabilities of an image may add up to: rounded to three digits they do not add up exactly."""
ID_COLUMNS = ("image_id", "id")
"""What the column of the ids is called; where neither is there, it is the first one."""
EXTRA_COLUMNS = ("fold", "seed", "y_true", "y_pred")
PREFIX = "p_"
"""Before the name of a class, where columns of an export hold its probability."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityTable:
    """Probabilities of ``n`` images and ``C`` classes, in the order that was asked for; S seeds, 1 without any."""

    proba: NDArray[np.float32]
    """``(S, n, C)``; each row sums to 1."""
    folds: NDArray[np.int64] | None
    """In which part each image was held out, int64 ``(S, n)``, numbered as the parts first occur; None where the file
    does not tell."""

    @property
    def mean(self) -> NDArray[np.float32]:
        """Over the seeds, ``(n, C)``."""
        mean: NDArray[np.float64] = self.proba.mean(axis=0, dtype=np.float64)
        return mean.astype(np.float32)


def read_probabilities(
    path: Path, ids: Sequence[str], class_names: Sequence[str], *, what: str, labels: Sequence[str] = ()
) -> ProbabilityTable:
    """Read the probabilities of the images ``ids``, each of which the file has to hold once, or once for each seed.

    Args:
        class_names: in the order in which the columns are returned.
        what: what the images are called in messages, such as ``training image``.
        labels: class of each image by name; where they are given, a column ``y_true`` has to agree with them.

    Raises:
        DataError: not such a table; every row that is wrong is named with what it holds.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise DataError(f"{path.name} has {size:,} bytes; up to {MAX_BYTES:,} are read")
    table = read_table(path)
    columns = _columns(table, class_names)
    problems: list[str] = []
    truth = dict(zip(ids, labels, strict=True)) if labels and columns.true is not None else {}
    if not {row[columns.true] for row in table.rows[1:] if columns.true is not None} & set(class_names):
        truth = {}  # numbered, say: nothing that could be compared
    place = {name: index for index, name in enumerate(ids)}
    seeds: dict[str, dict[int, int]] = {}  # of each seed: the row of each image
    for index, row in enumerate(table.rows[1:], 1):
        name = row[columns.id]
        seed = "" if columns.seed is None else row[columns.seed].strip()
        rows = seeds.setdefault(seed, {})
        if name not in place:
            problems.append(f"{table.row_name(index)}: {name!r} is not a {what} of this study")
        elif place[name] in rows:
            again = f" with seed {seed}" * (columns.seed is not None)
            first = table.numbers[rows[place[name]]]
            problems.append(f"{table.row_name(index)}: {name!r} is there a second time{again}, first in row {first}")
        else:
            rows[place[name]] = index
            if name in truth and columns.true is not None and row[columns.true] != truth[name]:
                found = f"y_true of {name!r} is {row[columns.true]!r}"
                problems.append(f"{table.row_name(index)}: {found}, here its label is {truth[name]!r}")
    for seed, rows in seeds.items():
        absent = [name for name in ids if place[name] not in rows]
        if absent:
            of_seed = f" with seed {seed}" * (len(seeds) > 1)
            which = f"{len(absent)} of {len(ids)} {what}s{of_seed}: {listed(absent, 5)}"
            problems.append(f"{path.name} has no row for {which}")
    if not seeds:
        problems.append(f"{path.name} holds nothing but a header: {len(ids)} {what}s are expected")
    if problems:
        unknown = any(row[columns.id] not in place for row in table.rows[1:])
        raise DataError(problems, f"{what}s are called {listed(ids, 3)}" if unknown else "")
    order = [[rows[index] for index in range(len(ids))] for rows in seeds.values()]
    proba = np.stack([_numbers(table, columns, rows) for rows in order])
    folds = None if columns.fold is None else np.stack([_parts(table, columns.fold, rows) for rows in order])
    return ProbabilityTable(proba=proba, folds=folds)


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Which column holds what; the classes in the order in which they were asked for."""

    id: int
    classes: tuple[int, ...]
    fold: int | None
    seed: int | None
    true: int | None


def _columns(table: Table, class_names: Sequence[str]) -> _Columns:
    header = [cell.strip() for cell in table.rows[0]]
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise DataError(f"{table.path.name} has two columns called {listed(twice)}")
    at = {cell: position for position, cell in enumerate(header)}
    named = next((c for c in ID_COLUMNS if c in at and c not in class_names), None)
    identifier = at[named] if named is not None else 0
    prefixed = [PREFIX + name for name in class_names]
    wanted = prefixed if all(name in at for name in prefixed) else list(class_names)
    missing = [name for name in wanted if at.get(name, identifier) == identifier]
    if missing and any(name in at for name in prefixed):
        missing = [name for name in prefixed if name not in at]
    used = {header[identifier], *wanted, *EXTRA_COLUMNS}
    unknown = [cell for cell in header if cell not in used]
    if missing or unknown:
        found = [f"{table.path.name} has no column {listed(missing)}"] if missing else []
        found += [f"{table.path.name}: {listed(unknown)} is no class of this study"] if unknown else []
        raise DataError(found, f"expected: image_id, then a column for each class: {listed(class_names)}")
    extra: Mapping[str, int] = {name: at[name] for name in EXTRA_COLUMNS if name in at and name not in wanted}
    return _Columns(
        id=identifier,
        classes=tuple(at[name] for name in wanted),
        fold=extra.get("fold"),
        seed=extra.get("seed"),
        true=extra.get("y_true"),
    )


def _numbers(table: Table, columns: _Columns, rows: Sequence[int]) -> NDArray[np.float32]:
    """Probabilities in the order of ``rows``, ``(n, C)``."""
    values = np.zeros((len(rows), len(columns.classes)))
    problems: list[str] = []
    negative, sums = False, []
    for at, index in sorted(enumerate(rows), key=lambda pair: pair[1]):
        row, name = table.rows[index], table.row_name(index)
        cells = [row[position] for position in columns.classes]
        numbers = [_number(cell) for cell in cells]
        wrong = [cell for cell, number in zip(cells, numbers, strict=True) if not 0.0 <= number < math.inf]
        if wrong:
            negative |= any(number < 0.0 for number in numbers)
            problems.append(f"{name}: {wrong[0]!r} is no probability" if wrong[0].strip() else f"{name}: no value")
            continue
        total = math.fsum(numbers)
        sums.append(total)
        if abs(total - 1.0) > SUM_TOLERANCE:
            problems.append(f"{name}: the probabilities of {row[columns.id]!r} add up to {total:.6g}, not to 1")
        values[at] = numbers
    if problems:
        advice = ""
        if negative:
            advice = "Are these logits or logarithms? Probabilities are asked for: apply softmax, or exp, first"
        elif sums and all(abs(total - 100.0) <= 100.0 * SUM_TOLERANCE for total in sums):
            advice = "Are these percent? Divide them by 100"
        raise DataError(problems, advice)
    normalised: NDArray[np.float64] = values / values.sum(axis=1, keepdims=True)
    return normalised.astype(np.float32)


def _number(cell: str) -> float:
    """A cell as a number; NaN where it is none."""
    try:
        return float(cell) if "_" not in cell else math.nan  # Python reads 1_0 as ten
    except ValueError:
        return math.nan


def _parts(table: Table, column: int, rows: Sequence[int]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(table.rows[i][column].strip(), len(numbers)) for i in rows], np.int64)
