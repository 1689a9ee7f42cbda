"""Recognise tables that list the classes, or the folders of the images, instead of labelling images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

Rows = Sequence[Sequence[str]]


def listing_column(rows: Rows, names: Collection[str]) -> int | None:
    """The column that holds most of these names (of folders), each once; None without such a column."""
    known = set(map(_plain, names))
    for column in range(max(map(len, rows), default=0)):
        cells = [_plain(row[column]) for row in rows if column < len(row)]
        found = len(known.intersection(cells))
        if found and len(set(cells)) == len(cells) and found * 2 > min(len(known), len(cells)):
            return column
    return None


def labels_names(rows: Rows, column: int, names: Collection[str]) -> bool:
    """Whether a column beside the names in ``column`` holds few values, each for several names, as labels do."""
    known = set(map(_plain, names))
    listing = [row for row in rows if column < len(row) and _plain(row[column]) in known]
    for other in range(max(map(len, listing), default=0)):
        values = {row[other].strip() for row in listing if other < len(row)} - {""}
        if len(values) > 1 and len(values) * 2 <= len(listing):
            return True
    return False


def lists_values(rows: Rows, values: Collection[str], most_unused: float) -> bool:
    """Whether a column of a table holds all these values, each once, and at most so many others for each of them."""
    known = set(map(_plain, values)) - {""}
    if len(known) < 2 or len(rows) > (1 + most_unused) * len(known):
        return False
    for column in zip(*rows, strict=False):
        cells = list(map(_plain, column))
        if len(set(cells)) == len(cells) and known <= set(cells):
            return True
    return False


def _plain(cell: str) -> str:
    """A cell without case, blanks around it, and the decimal point of a whole number."""
    return re.sub(r"(?<=^\d)(\d*)\.0+$", r"\1", unicodedata.normalize("NFC", cell.strip()).casefold())
