"""Whether the images of a training table have several labels each, and how its cells list them.

Class columns with several ones in a row say it by themselves, if the sample submission has these columns. A column of
labels says it where its cells are lists: ``scab rust`` beside ``scab`` and ``rust``. A blank
is also a part of many class names, so it needs more evidence than other separators.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, counted
from trainer.formats.labels import SeveralLabels, is_integer, is_missing, order_classes

SEPARATORS = ("|", ";", ",", " ")
"""Between several labels in one cell."""
_SURE_MARKS = ("|", ";")
"""Those that no name of a class holds as a rule."""
JOINT = "\n"
"""Between the labels of a row once they are read; no class name holds it."""
NO_LABELS = "[]"
"""Cell of an image without labels, among cells that list labels. An empty cell may be one that was forgotten."""
OPTION = "--several-labels"
JSON = re.compile(r"\{.*\}", re.DOTALL)
"""A cell that holds an object of JSON, as annotation tools write it."""
_IN_BRACKETS = re.compile(r"""\[\s*(?:(['"]).*\1|[^\]]+,.*)\s*\]""", re.DOTALL)

CONNECTORS = frozenset(("&", "+", "/", "-", "and", "und", "et", "y", "e", "og", "och", "en", "with", "or"))
"""Words between the labels of a list, or parts of one name; never labels."""
_LEAST_LISTS = {"|": 2, ";": 2, ",": 3, " ": 3}  # different lists in the cells that are evidence for a separator
_MANY_LABELS = 3  # ratio of different cells to different words from which blanks separate labels, not words of names
_LEAST_ROWS = 0.05  # share of rows with several ones from which these are no slips
_MOST_SLIPS = 0.05  # share of rows with other values than 0 and 1 up to which these are slips
_SHARED = 0.1  # share of further rows of images from which each row names one label
_SHOWN = 60  # characters of a cell in a message


def free_separator(class_names: Collection[str]) -> str:
    """A separator between labels that no class name holds; a blank where possible, as most competitions have it."""
    marks = (" ", *(mark for mark in SEPARATORS if mark != " "))
    return next((mark for mark in marks if not any(mark in name for name in class_names)), " ")


def separator_of(cells: Sequence[str], wanted: Collection[str] = ()) -> str | None:
    """The character that separates several labels in the cells of a column; None where each cell seems to be one label.

    Args:
        cells: the cells of the column, without blanks around them.
        wanted: names of the classes, if the sample submission has a column for each. Empty: unknown.
    """
    counts = Counter(cell for cell in cells if not is_missing(cell) and cell != NO_LABELS)
    return next((mark for mark in SEPARATORS if _separates(mark, counts.keys(), set(wanted))), None)


def likely_separator(cells: Collection[str], wanted: Collection[str] = (), *, row_a_label: bool = False) -> str | None:
    """The separator of cells that may be lists although they are no evidence: the one that occurs in most of them.

    Args:
        wanted: as for `separator_of`; cells that are such names themselves are no lists.
        row_a_label: whether images have several rows, one for each label. Blanks are then parts of names.
    """
    lists = [cell for cell in cells if cell not in wanted]
    names = row_a_label or any(not CONNECTORS.isdisjoint(cell.lower().split()) for cell in lists)
    counts = {mark: sum(mark in cell for cell in lists) for mark in SEPARATORS if not (names and mark == " ")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else None


def parts_of(cell: str, separator: str | None) -> list[str]:
    """The labels in a cell, without repetitions, in their order there; none in `NO_LABELS`."""
    if cell == NO_LABELS:
        return []
    parts = [cell] if separator is None else cell.split(separator)
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _separates(mark: str, cells: Collection[str], wanted: Collection[str]) -> bool:
    parts = {cell: parts_of(cell, mark) for cell in cells}
    lists = {frozenset(own) for own in parts.values() if len(own) > 1}
    names = {name for own in parts.values() for name in own}
    if not lists or (mark != " " and any(len(name) > _SHOWN for name in names)):
        return False
    if wanted and names <= set(wanted):
        return True
    if len(lists) < _LEAST_LISTS[mark] or (mark == " " and not CONNECTORS.isdisjoint(map(str.lower, names))):
        return False
    alone = {own[0] for own in parts.values() if len(own) == 1}
    listed_names = {name for own in lists for name in own}
    lengths = {len(own) for own in parts.values()}
    in_lists = Counter(name for own in lists for name in own)
    recur = all(name in alone or in_lists[name] > 1 for name in listed_names)
    if mark != " ":
        return (listed_names <= alone) or (recur and len(names) < len(cells) and len(lengths) > 1)
    if all(map(is_integer, names)) or listed_names <= alone:
        return True
    return recur and len(lengths) > 1 and len(cells) >= _MANY_LABELS * len(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelLists:
    """How the labels of a table with several labels an image are written.

    separator: of a column of labels; None for class columns, and where each row names one of the labels.
    note: a sentence for the user.
    written: what separates labels in the cells of the file, where that is not ``separator``.
    """

    separator: str | None
    note: str
    written: str | None = None


def lists_in_column(
    where: str,
    cells: Sequence[str],
    asked: SeveralLabels,
    wanted: Collection[str] = (),
    images: Sequence[str] = (),
) -> LabelLists | None:
    """How a column lists several labels; None if each image has one.

    Args:
        where: name of the table, for the note.
        cells: of the column.
        asked: the user's setting.
        wanted: as for `separator_of`.
        images: of the rows.

    Raises:
        DataError: cells are lists in brackets or JSON, as programs write them, or repeat a label, as votes do.
    """
    stripped = [cell.strip() for cell in cells]
    if asked == "no":
        return None
    if bracketed := [cell for cell in stripped if _IN_BRACKETS.fullmatch(cell)]:
        raise DataError(
            f"{where}: {len(bracketed)} labels are lists in brackets, such as {bracketed[0][:_SHOWN]!r}: write the "
            f"labels with | between them, such as cat|dog, and {NO_LABELS} for an image without any"
        )
    if asked == "yes" and (documents := [cell for cell in stripped if JSON.fullmatch(cell)]):
        raise DataError(
            f"{where}: {len(documents)} labels are JSON, such as {documents[0][:_SHOWN]!r}: write the labels with | "
            f"between them, such as cat|dog, and {NO_LABELS} for an image without any"
        )
    separator = separator_of(stripped, wanted)
    if separator is None and asked == "yes":
        row_a_label = len(images) - len(set(images)) > _SHARED * len(images)
        separator = likely_separator(stripped, wanted, row_a_label=row_a_label)
    if asked == "auto":
        _refuse_votes(where, stripped, (separator,) if separator is not None else _SURE_MARKS)
    if separator is None and asked == "auto":
        return None
    if separator is None:
        return LabelLists(separator=None, note=f"{where}: the labels of an image are those of all its rows")
    example = next(cell for cell in stripped if separator in cell)[:_SHOWN]
    shown = "blanks" if separator == " " else repr(separator)
    return LabelLists(
        separator=separator,
        note=f"{where}: an image may have several labels, separated by {shown}, such as {example!r}; {OPTION} no "
        "(data.several_labels) reads each combination as a class of its own",
    )


def _refuse_votes(where: str, cells: Sequence[str], marks: Sequence[str]) -> None:
    """Refuse cells that name one label several times, as the answers of several annotators do: ``cat|cat|dog``.

    Raises:
        DataError: there are such cells, with one of the ``marks`` between the labels.
    """
    for mark in marks:
        given = {cell: [part for part in cell.split(mark) if part.strip()] for cell in cells if cell != NO_LABELS}
        votes = [cell for cell in cells if len(parts_of(cell, mark)) < len(given.get(cell, ()))]
        if votes and any(len(parts_of(cell, mark)) > 1 for cell in cells):
            raise DataError(
                f"{where}: {counted(len(votes), 'cell')} of labels name one of them several times, such as "
                f"{votes[0][:_SHOWN]!r}. If these are the votes of annotators, write the label that holds for the "
                "image alone; if the image has each of these labels, write each once, or add "
                f"{OPTION} yes (data.several_labels)"
            )


def lists_in_class_columns(
    where: str, rows: Sequence[Sequence[float | None]], asked: SeveralLabels
) -> LabelLists | None:
    """Whether class columns hold several ones a row; None if each image has one label, or a few rows are slips.

    Args:
        rows: the values of the class columns, 0 to 1; None for a cell that holds none.
    """
    if asked == "no":
        return None
    several = sum(sum(value == 1.0 for value in row) > 1 for row in rows)
    others = sum(any(value not in (0.0, 1.0) for value in row) for row in rows)
    if asked == "auto" and (others > _MOST_SLIPS * len(rows) or several < max(2, _LEAST_ROWS * len(rows))):
        return None
    none = sum(not any(row) for row in rows)
    without = f", and {none} have none" if none else ""
    return LabelLists(
        separator=None,
        note=f"{where}: {several} of {len(rows)} images have several labels{without}; an image may have any number",
    )


def encode_lists(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names in their fixed order, and the labels of each image as 0 and 1: int64 (n, C).

    Args:
        labels: of each image, joined by `JOINT`; empty for an image without labels.

    Raises:
        DataError: fewer than two classes.
    """
    names = order_classes([name for label in labels for name in label.split(JOINT) if name])
    if len(names) < 2:
        raise DataError(f"the images have the labels {', '.join(map(repr, names)) or '(none)'}; two classes are needed")
    index = {name: position for position, name in enumerate(names)}
    y = np.zeros((len(labels), len(names)), np.int64)
    for row, label in enumerate(labels):
        y[row, [index[name] for name in label.split(JOINT) if name]] = 1
    return names, y


def mixed_separators(separator: str, labels: Collection[str]) -> dict[str, list[str]]:
    """Labels that are lists of other labels with another separator than ``separator``, and these labels.

    Args:
        labels: of all images, split at ``separator``.
    """
    found = {}
    for label in labels:
        for mark in SEPARATORS:
            parts = parts_of(label, mark) if mark != separator and mark in label else []
            if len(parts) > 1 and set(parts) <= set(labels):
                found[label] = parts
    return found
