"""Recognise tables that list the classes, or the folders of the images, instead of labelling images."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

Rows = Sequence[Sequence[str]]
_MOST_BYTES = 2**20
_AGREEING, _AGREEING_OF_TWO = 0.8, 0.9


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


def odd_rows(labels: Sequence[str], folders: Sequence[str]) -> list[int]:
    """The rows whose image lies outside of the main folder of its label, where labels surely mean folders; else none.

    They do where the main folders of the labels differ, and hold 8 of 10 images at least; of two classes 9 of 10,
    because two folders of another meaning may fit by chance.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label, folder in zip(labels, folders, strict=True):
        counts[label][folder] += 1
    main = {label: found.most_common(1)[0][0] for label, found in counts.items()}
    wrong = [row for row, label in enumerate(labels) if folders[row] != main[label]]
    agreeing = _AGREEING if len(main) > 2 else _AGREEING_OF_TWO
    surely = len(set(main.values())) == len(main) > 1 and len(labels) - len(wrong) >= agreeing * len(labels)
    return wrong if surely else []


def json_lists_classes(path: Path, names: Collection[str]) -> bool:
    """Whether a JSON file lists or numbers these classes and holds nothing else, such as ``{"cat": 0, "dog": 1}``."""
    if path.suffix.lower() != ".json" or path.stat().st_size > _MOST_BYTES:
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    if isinstance(content, dict) and len(content) == 1:
        (content,) = content.values()  # {"classes": [...]}
    entries = [content]
    if isinstance(content, dict):
        # Values that several names share are the labels of images, patients or the like.
        if len(set(map(str, content.values()))) < len(content):
            return False
        entries = [list(content.values()), list(content)]
    known = set(map(_plain, names))
    return any(
        isinstance(cells, list)
        and all(isinstance(cell, str) for cell in cells)
        and {_plain(cell) for cell in cells} == known
        for cells in entries
    )


def _plain(cell: str) -> str:
    """A cell without case, blanks around it, and the decimal point of a whole number."""
    return re.sub(r"(?<=^\d)(\d*)\.0+$", r"\1", unicodedata.normalize("NFC", cell.strip()).casefold())
