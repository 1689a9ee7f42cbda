"""Read the labels of the rows of a training table: one of each row, or several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from trainer.common.errors import TrainerError, listed
from trainer.data.readers.base import SkippableProblem
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.class_columns import SUM_TOLERANCE
from trainer.data.readers.columns.several_labels import JOINT, NO_LABELS, mixed_separators, parts_of
from trainer.formats.delimited import Table
from trainer.formats.labels import is_missing, text_problem
from trainer.formats.shares import signed_share

_DITTO = frozenset((
    "\u3003", "\u2033", "\u201d", "\u201c", '"', "''", "``", '-"-', '- " -', '"-"', "do.", "dto.", "dito", "idem",
    "ditto", "see above", "as above", "same as above", "siehe oben", "wie oben", "voir ci-dessus",
    "\u540c\u4e0a", "\u3005",
))  # fmt: skip
"""Marks and words for the label of the row above, in lower case."""


class _BadRowError(TrainerError):
    """A cell that cannot be used. The message is the cause alone, without the row's name."""


class _NoLabelError(_BadRowError):
    """A row without a label."""


def read_labels(
    table: Table, first: int, names: Sequence[str], columns: Columns
) -> tuple[dict[int, str], list[str], list[SkippableProblem], list[str]]:
    """The label of each row with a usable id and label, by row index; problems; rows without a label; warnings."""
    labels: dict[int, str] = {}
    problems: list[str] = []
    unlabelled: list[SkippableProblem] = []
    stripped: dict[str, set[str]] = defaultdict(set)
    warnings: list[str] = []
    zeros = columns.lists is not None and _writes_zeros(table, first, columns)
    for index in range(first, len(table.rows)):
        cells, row = table.rows[index], table.row_name(index)
        try:
            if zeros and (empty := [names[column] for column in columns.classes if not cells[column].strip()]):
                raise _NoLabelError(f"the class column {empty[0]!r} is empty, and others hold 0 for no label")
            label, tie = _label(cells, names, columns)
            if problem := text_problem(cells[columns.id]):
                raise _BadRowError(f"the id {problem}")
        except _NoLabelError as error:
            unlabelled.append(SkippableProblem(lost_id=cells[columns.id], message=f"{row}: {error}"))
            continue
        except _BadRowError as error:
            problems.append(f"{row}: {error}")
            continue
        labels[index] = label
        if columns.label is not None and columns.lists is None:
            stripped[label].add(cells[columns.label])
        if tie:
            warnings.append(f"{row}: two classes are equally probable; the first one becomes the label")
    if _are_merged(table, first, columns, labels):
        problems.append(
            f"{table.name}: {len(labels)} of {len(table.rows) - first} rows have a label, each above rows without one, "
            "as where cells were merged in a spreadsheet: write the label into every row"
        )
        unlabelled = []
    padded = [f"{label!r} (also {max(cells, key=len)!r})" for label, cells in stripped.items() if len(cells) > 1]
    if padded:
        warnings.append(f"{table.name}: blanks around labels are removed: {', '.join(padded[:5])}")
    return labels, problems, unlabelled, warnings


def _are_merged(table: Table, first: int, columns: Columns, labels: Mapping[int, str]) -> bool:
    """Whether only the first row of each block has a label, as a spreadsheet saves merged cells."""
    count = len(table.rows) - first
    if columns.label is None or len(labels) < 2 or 2 * len(labels) >= count or first not in labels:
        return False
    below_is_empty = all(index + 1 not in labels for index in labels)
    return below_is_empty and len(set(labels.values())) == len(labels)


def labels_of_images(table: Table, columns: Columns, labels: Mapping[int, str]) -> dict[int, str]:
    """The labels of all rows of an image, by the index of its first row."""
    first: dict[str, int] = {}
    joined: dict[int, str] = {}
    for index, label in labels.items():
        row = first.setdefault(table.rows[index][columns.id], index)
        names = dict.fromkeys(name for text in (joined.get(row, ""), label) for name in text.split(JOINT) if name)
        joined[row] = JOINT.join(names)
    return joined


def mixed_lists(table: Table, separator: str, labels: Mapping[int, str]) -> list[str]:
    """One problem for each row with a list in which another character than ``separator`` separates labels."""
    mixed = mixed_separators(separator, {name for label in labels.values() for name in label.split(JOINT) if name})
    return [
        f"{table.row_name(index)}: {name!r} seems to list the labels {listed(mixed[name])}, but {separator!r} "
        "separates labels in other rows"
        for index, label in labels.items()
        for name in label.split(JOINT)
        if name in mixed
    ]


def _writes_zeros(table: Table, first: int, columns: Columns) -> bool:
    """Whether the class columns say no with a 0 or a word, so that an empty cell says nothing."""
    return any(
        cells[column].strip() and value == 0.0
        for cells in table.rows[first:]
        for column, value in zip(columns.classes, columns.shares(cells), strict=True)
    )


def _label(cells: Sequence[str], names: Sequence[str], columns: Columns) -> tuple[str, bool]:
    """The label of a row, and whether another class is as probable."""
    if columns.label is not None:
        label = cells[columns.label].strip()
        if is_missing(label):
            none = f"; {NO_LABELS} stands for an image without labels" * (columns.lists is not None)
            raise _NoLabelError(f"the label is {'missing: ' + repr(label) if label else 'empty'}{none}")
        if columns.lists is not None:
            parts = parts_of(label, columns.lists.separator)
            if bad := next(filter(None, map(text_problem, parts)), None if parts or label == NO_LABELS else "is empty"):
                raise _BadRowError(f"the label {bad}")
            return JOINT.join(parts), False
        if label.lower() in _DITTO:
            raise _BadRowError(f"the label {label!r} stands for that of a row above; write that label")
        if problem := text_problem(label):
            raise _BadRowError(f"the label {problem}")
        return label, False
    values = []
    for column, value in zip(columns.classes, columns.shares(cells), strict=True):
        if value is None:
            why = "" if signed_share(cells[column]) is None else "; -1 means no only where all cells are 1 or -1"
            raise _BadRowError(
                f"{cells[column].strip()!r} in the class column {names[column]!r} is neither 0, 1, TRUE, FALSE nor a "
                f"probability{why}"
            )
        values.append(value)
    if columns.lists is not None:
        if any(value not in (0.0, 1.0) for value in values):
            raise _BadRowError("a class column holds a probability; of several labels each is 0 or 1")
        return JOINT.join(names[c] for c, value in zip(columns.classes, values, strict=True) if value), False
    if not any(values):
        raise _NoLabelError("it has no label: its classes add up to 0")
    if abs(sum(values) - 1) > SUM_TOLERANCE:
        hot = [names[column] for column, value in zip(columns.classes, values, strict=True) if value == 1]
        what = f"it has the labels {listed(hot)}" if len(hot) > 1 else f"its classes add up to {sum(values):g}"
        advice = ". If an image may have several labels, add --several-labels yes (data.several_labels)"
        raise _BadRowError(
            f"{what}; each image needs exactly one label, or probabilities that add up to 1"
            + advice * (not columns.one_label)
        )
    best = max(values)
    return names[columns.classes[values.index(best)]], values.count(best) > 1
