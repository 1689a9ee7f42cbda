"""Columns that hold further labels of an image: ``label2`` beside ``label1``, ``secondary_labels`` beside ``label``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.readers.columns.label_names import one_stem, plain_name
from trainer.formats.labels import is_missing, is_number
from trainer.formats.shares import share

_NONE = frozenset(("none", "no", "na", "n/a", "-", "--", "?", "[]", "x"))
"""Words of a further column for an image without a further label."""
_PREDICTIONS = frozenset((
    "pred", "preds", "predicted", "prediction", "predictions", "output", "old", "previous", "orig", "original",
    "pseudo",
))  # fmt: skip
"""Words in the names of columns with predicted or former labels."""


@dataclass(frozen=True, kw_only=True)
class FurtherLabels:
    """Columns that may hold further labels of an image.

    named: those with the name of the column of labels, but for a number or a word such as secondary.
    alike: those that hold the same words.
    """

    named: tuple[int, ...]
    alike: tuple[int, ...]


def further_cell(cell: str) -> str:
    """The cell of a further column; empty for a word that says that the image has no further label."""
    text = cell.strip()
    return "" if is_missing(text) or text.lower() in _NONE else text


def speaks_of_predictions(name: str) -> bool:
    """Whether a column holds predicted or former labels by its name."""
    return not _PREDICTIONS.isdisjoint(plain_name(name).split("_"))


def further_labels(
    names: Sequence[str], rows: Sequence[Sequence[str]], label: int, free: Sequence[int]
) -> FurtherLabels:
    """The columns out of ``free`` that may hold further labels beside those in the column ``label``.

    A column that only renames the labels, such as their number, is none, and neither is one of 0 and 1.
    """
    own = {row[label].strip() for row in rows if not is_missing(row[label])}
    named, alike = [], []
    for column in free:
        pairs = {(row[label].strip(), text) for row in rows if (text := further_cell(row[column]))}
        cells = {cell for _, cell in pairs}
        renamed = len({first for first, _ in pairs}) == len(pairs) == len(cells) and not cells & own
        full = all(further_cell(row[column]) for row in rows)
        same = all(first == second for first, second in pairs)
        flags = all(share(cell) in (0.0, 1.0) for cell in cells)
        if not cells or same or flags or (renamed and full):
            continue
        if one_stem([names[label], names[column]]):
            named.append(column)
        elif 2 * len(cells & own) >= len(cells) and not all(map(is_number, cells)):
            alike += [] if speaks_of_predictions(names[column]) else [column]
    return FurtherLabels(named=tuple(named), alike=tuple(alike))
