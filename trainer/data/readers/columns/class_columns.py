"""Columns that stand for one class each: one-hot, probabilities, or any number of ones in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainer.common.errors import DataError, counted, listed
from trainer.formats.labels import is_number
from trainer.formats.shares import are_shares, are_signed, share, signed_share

SUM_TOLERANCE = 0.01  # largest distance from 1 of the sum of a row's probabilities
_PROBED_ROWS = 200  # rows read to decide whether columns are one-hot
_MOST_ODD = 1 / 3  # share of cells that are neither 0 nor 1 up to which these are mistakes in a column of 0 and 1
_FEW_TYPOS, _MOST_TYPOS = 3, 0.1
"""Number and share of numbers beside 0 and 1 up to which they are mistakes in a column of 0 and 1, and no grades."""
_FEW_CODES = 3  # other values beside 0 and 1 up to which a column may hold labels with codes, such as -1 for unsure
_MOST_UNLIKE = 0.1  # share of rows up to which those without exactly one 1 are mistakes in one-hot columns
_NAMED = 20  # cells named in an error
_SHOWN = 8  # columns named in a note
_ADVICE = "A column that is no label has to be removed from the table"


@dataclass(frozen=True, kw_only=True)
class MarkedColumns:
    """The columns that hold 0 and 1, or another pair that says yes and no.

    columns: those that hold both, some of them with cells that hold neither.
    odd: row and column of the cells that hold neither.
    constant: columns that hold 0 and 1, but one of both alone.
    signed: whether no is -1.
    doubtful: other columns that may say yes and no: with two values, or with 0 or 1 beside a few others.
    """

    columns: tuple[int, ...]
    odd: tuple[tuple[int, int], ...]
    constant: tuple[int, ...]
    doubtful: tuple[int, ...]
    signed: bool


def marked_columns(rows: Sequence[Sequence[str]], free: Sequence[int]) -> MarkedColumns:
    """The columns out of ``free`` that hold 0 and 1, in the notation that more of them have: 0 and 1, or -1 and 1."""
    counts = {column: Counter(row[column].strip() for row in rows) for column in free}
    return max(
        (_marked(rows, counts, value_of) for value_of in (share, signed_share)), key=lambda found: len(found.columns)
    )


def _marked(
    rows: Sequence[Sequence[str]], counts: Mapping[int, Counter[str]], value_of: Callable[[str], float | None]
) -> MarkedColumns:
    marked, constant, doubtful = [], [], []
    odd_cells: dict[int, set[str]] = {}
    for column, cells in counts.items():
        values = {cell: value for cell in cells if (value := value_of(cell)) in (0.0, 1.0)}
        found = set(values.values())
        odd = cells.keys() - values.keys()
        number_odd = sum(cells[cell] for cell in odd)
        share_odd = number_odd / max(len(rows), 1)
        filled = cells.keys() - {""}
        graded = number_odd > _FEW_TYPOS and share_odd > _MOST_TYPOS and all(map(is_number, odd))
        if filled & values.keys() and found == {0.0, 1.0} and share_odd <= _MOST_ODD and not graded:
            marked.append(column)
            odd_cells[column] = odd
        elif filled and not odd:
            constant.append(column)
        elif len(filled) == 2 or (filled & values.keys() and (share_odd <= _MOST_ODD or len(odd) <= _FEW_CODES)):
            doubtful.append(column)
    return MarkedColumns(
        columns=tuple(marked),
        odd=tuple((i, c) for i, row in enumerate(rows) for c, odd in odd_cells.items() if row[c].strip() in odd),
        constant=tuple(constant),
        doubtful=tuple(doubtful),
        signed=value_of is signed_share,
    )


def odd_cells(
    names: Sequence[str], rows: Sequence[Sequence[str]], found: MarkedColumns, row_name: Callable[[Sequence[str]], str]
) -> DataError | None:
    """The error that names the cells that are neither 0 nor 1 in columns of 0 and 1; None without any."""
    if not found.odd:
        return None
    no = "-1" if found.signed else "0"
    problems = [
        f"{row_name(rows[i])}: {rows[i][c].strip()!r} in the column {names[c]!r} is neither {no} nor 1, as its other "
        "cells are"
        for i, c in found.odd[:_NAMED]
    ]
    if len(found.odd) > _NAMED:
        problems.append(f"{len(found.odd)} cells of these columns are neither {no} nor 1, in all")
    return DataError(problems, f"Write {no} or 1 there. {_ADVICE}")


def described(
    names: Sequence[str], rows: Sequence[Sequence[str]], free: Sequence[int], found: MarkedColumns
) -> tuple[list[str], list[str]]:
    """Notes that list the columns that are labels and those that are not, and warnings about doubtful ones."""
    notes = [
        f"the labels are the {len(found.columns)} columns that hold 0 and 1: "
        f"{listed((names[c] for c in found.columns), _SHOWN)}; remove a column that is none from the table"
    ]
    unlike = (*found.constant, *found.doubtful)
    if left := [names[c] for c in free if c not in found.columns and c not in unlike]:
        notes.append(f"not among the labels: {listed(left, _SHOWN)}")
    warnings = [
        f"the column {names[c]!r} is not read as a label, because all of its cells are {rows[0][c].strip()!r}"
        for c in found.constant
    ]
    for column in found.doubtful:
        cells = sorted({row[column].strip() for row in rows})
        held = f"it holds {listed(cells, 4)}; a label is 0 or 1"
        warnings.append(f"the column {names[column]!r} is not read as a label, because {held}")
    return notes, warnings


def holds_shares(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether most cells of a column are 0, 1, -1 or a probability, and so may say how far a class is present."""
    known = sum(share(row[column]) is not None or signed_share(row[column]) is not None for row in rows)
    return 2 * known > len(rows)


def one_hot(rows: Sequence[Sequence[str]], free: Sequence[int], values: Mapping[int, set[str]]) -> Sequence[int]:
    """The columns of 0 and 1, or of -1 and 1, that are together one-hot. One column of them may be something else.

    Args:
        values: the different cells of each column.
    """
    for value_of in (share, signed_share):
        hot = [column for column in free if {value_of(value) for value in values[column]} == {0.0, 1.0}]
        if sum_to_one(rows, hot):
            return hot
        fitting = [others for left in hot if sum_to_one(rows, others := [column for column in hot if column != left])]
        if len(fitting) == 1:
            return fitting[0]
    return []


def unlike_one_hot(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    """How many rows are not one-hot in columns of 0 and 1, in parentheses; empty where other values occur."""
    sums = _ones(rows, columns)
    if sums is None:
        return ""
    none, several = sums.count(0), sum(number > 1 for number in sums)
    parts = []
    if none:
        are = "holds no 1, and can be removed if it has" if none == 1 else "hold no 1, and can be removed if they have"
        parts.append(f"{counted(none, 'row')} {are} no label")
    if several:
        parts.append(f"{counted(several, 'row')} hold{'s' * (several == 1)} several")
    return f" ({'; '.join(parts)})"


def few_unlike_one_hot(
    file: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: Sequence[int],
    row_name: Callable[[Sequence[str]], str],
    *,
    may_be_several: bool,
) -> DataError | None:
    """The error that names the few rows that keep columns of 0 and 1 from being one-hot; None if they are many.

    Args:
        may_be_several: whether the columns may also be several labels of an image.
    """
    sums = _ones(rows, columns) or []
    odd = [index for index, number in enumerate(sums) if number != 1]
    if not 0 < len(odd) <= _MOST_UNLIKE * len(rows):
        return None
    problems = [f"{file}: {listed((names[c] for c in columns), _SHOWN)} are one-hot columns, but for these rows:"]
    for index in odd[:_NAMED]:
        ones = [names[c] for c in columns if share(rows[index][c]) == 1.0]
        help_ = f"leave it in one of {listed(ones, _SHOWN)}" if ones else "write 1 into one, or remove the row"
        problems.append(f"{row_name(rows[index])} holds {f'{len(ones)} times 1' if ones else 'no 1'}: {help_}")
    if len(odd) > _NAMED:
        problems.append(f"{len(odd)} rows in all")
    several = "If an image may have several of these labels, or none, add --several-labels yes (data.several_labels)"
    return DataError(problems, several if may_be_several else "")


def _ones(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> list[int] | None:
    """The number of ones in each row of columns of 0 and 1; None where other values occur."""
    values = [[share(row[column]) for column in columns] for row in rows]
    if not all(value in (0.0, 1.0) for own in values for value in own):
        return None
    return [own.count(1.0) for own in values]


def sum_to_one(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Whether the columns are one-hot or probabilities in every probed row."""
    cells = [[row[column] for column in columns] for row in rows[:_PROBED_ROWS]]
    if are_signed(cells):
        return all(sum(signed_share(cell) or 0.0 for cell in row) == 1.0 for row in cells)
    return are_shares(cells, SUM_TOLERANCE)
