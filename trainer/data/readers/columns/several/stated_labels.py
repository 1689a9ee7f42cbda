"""Columns that say whether the label of a row holds, or how sure it is: ``present``, ``score``, ``Confidence``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from trainer.data.names.parts import split_of
from trainer.data.names.predictions import states_certainty
from trainer.data.readers.columns.label_names import is_usual_label, plain_name
from trainer.formats.labels import is_missing
from trainer.formats.shares import share, signed_share

SAYS_NO = frozenset(("absent", "is_absent", "absence", "is_negative", "negated", "is_negated", "not_present"))
"""Names of columns whose yes means that the label does not hold."""
_SAYS_YES = frozenset((
    "present", "is_present", "presence", "confidence", "conf", "exists", "applies", "holds", "has_label",
    "label_present", "present_in_image", "is_in_image",
))  # fmt: skip
_MAY_SAY_YES = frozenset((
    "value", "values", "label_value", "answer", "flag", "indicator", "positive", "is_positive", "relevant",
    "is_relevant", "relevance", "correct", "is_correct", "yes_no", "bool", "truth", "is_true", "result", "state",
    "status", "score", "verified", "is_verified", "agreed", "target", "y",
))  # fmt: skip
"""Names that say it where an image has several rows."""
_WORDS = {
    **dict.fromkeys(
        ("present", "positive", "pos", "ja", "oui", "si", "s\u00ed", "s\u00ec", "sim", "tak", "there"), 1.0
    ),
    **dict.fromkeys(("absent", "negative", "neg", "nein", "non", "n\u00e3o", "nie", "not present", "missing"), 0.0),
}
_SAYS_TRUTH = re.compile("label|annotat|target|truth|answer|metadata")
"""In the name of a table of labels, whatever stands beside them."""
_REPEATED = 0.1  # share of further rows of images from which images have several rows
_MOST = 0.9  # share of the pairs of image and label from which each image has a row for each label
_LEAST_KNOWN = 2 / 3  # share of cells that say yes or no from which the other ones are mistakes


class ImageRows:
    """The rows of a table by their image.

    repeat: whether many images have several rows.
    """

    def __init__(self, rows: Sequence[Sequence[str]], image: int) -> None:
        self._rows, self._image = rows, image
        self._images = {row[image] for row in rows}
        self.repeat = len(rows) - len(self._images) > _REPEATED * len(rows)

    def __len__(self) -> int:
        return len(self._images)

    def cells(self, column: int) -> list[str]:
        """The cells of a column."""
        return [row[column].strip() for row in self._rows]

    def values(self, column: int) -> set[str]:
        """The different cells of a column."""
        return set(self.cells(column))

    def pairs(self, column: int) -> set[tuple[str, str]]:
        """The different pairs of image and cell."""
        return {(row[self._image], row[column].strip()) for row in self._rows}

    def is_full(self, column: int, *, most: bool = False) -> bool:
        """Whether each image has a row for each value of a column; ``most``: at least 90 % of these rows."""
        values = len(self.values(column))
        wanted = len(self) * values
        if not self.repeat or values < 2 or len(self) < 2 or wanted > len(self._rows) / _MOST:
            return False
        return len(self.pairs(column)) >= wanted * (_MOST if most else 1.0)

    def tells_apart(self, column: int) -> bool:
        """Whether the rows of each image differ in a column that has the same values in several rows."""
        return 1 < len(self.values(column)) < len(self._rows) == len(self.pairs(column))

    def varies(self, column: int) -> bool:
        """Whether rows of one image differ in a column."""
        return len(self.pairs(column)) > len(self)


def truth_of(cells: Sequence[str]) -> Callable[[str], float | None]:
    """How the cells of a column say that a label holds: None for a cell that says nothing."""
    if {signed_share(cell) for cell in cells} == {0.0, 1.0}:
        return signed_share
    return _truth


def _truth(cell: str) -> float | None:
    found = _WORDS.get(cell.strip().lower())
    return share(cell) if found is None else found


def is_statement(cells: Sequence[str], *, binary: bool = False) -> bool:
    """Whether most cells of a column say yes or no, and some say no; ``binary``: no probabilities, all cells."""
    truth = truth_of(cells)
    found = [truth(cell) for cell in cells]
    known = [value for value in found if value is not None and (not binary or value in (0.0, 1.0))]
    filled = any(not is_missing(cell) for cell, value in zip(cells, found, strict=True) if value is not None)
    least = len(cells) if binary else _LEAST_KNOWN * len(cells)
    return filled and len(known) >= least and any(value < 1.0 for value in known)


def named_statements(names: Sequence[str], images: ImageRows, free: Sequence[int]) -> list[int]:
    """The columns that say by their name, or by words such as absent, whether the label of a row holds."""
    said = [column for column in free if is_statement(images.cells(column))]
    sure = [column for column in said if plain_name(names[column]) in _SAYS_YES | SAYS_NO]
    if sure or not images.repeat:
        return sure
    return [
        column
        for column in said
        if plain_name(names[column]) in _MAY_SAY_YES
        or {value.lower() for value in images.values(column)} in ({"present", "absent"}, {"positive", "negative"})
    ]


def leave_statements(names: Sequence[str], rows: Sequence[Sequence[str]], image: int, free: Sequence[int]) -> list[int]:
    """The columns ``free`` that may hold labels: without those that say whether the label in another one holds."""
    images = ImageRows(rows, image)
    if not images.repeat:
        return list(free)
    said = [column for column in named_statements(names, images, free) if not is_usual_label(names[column])]
    rest = [column for column in free if column not in said]
    return rest if any(images.tells_apart(column) for column in rest) else list(free)


def may_be_predicted(file: str, names: Sequence[str], rows: Sequence[Sequence[str]], image: int, label: int) -> bool:
    """Whether a table holds nothing but images, labels and how sure these are, as the output of a network does.

    In a table of labels by its name, such columns hold how sure an annotator was.

    Args:
        file: name of the table.
        image: the column that names the images.
        label: the column of labels.
    """
    others = [column for column in range(len(names)) if column not in (image, label)]
    if not others or split_of(PurePath(file).stem) == "train" or _SAYS_TRUTH.search(file.lower()):
        return False
    return all(states_certainty(names[column]) and _are_shares(rows, column) for column in others)


def predicted_warning(file: str, label: str) -> str:
    """The warning about labels beside which nothing stands but how sure they are."""
    return (
        f"{file} holds nothing but images, {label!r} and how sure it is, as the output of a network does; if these "
        "labels are predictions, move the table out of the data folder, and give one of true labels"
    )


def _are_shares(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column holds shares, and not yes and no alone."""
    found = [share(row[column].strip()) for row in rows]
    return None not in found and any(value not in (0.0, 1.0) for value in found)
