"""Values of JSON as the cells that a CSV of the same table would have."""

from __future__ import annotations

from typing import Any

from trainer.data.readers.tables.reading.records.entries import Number
from trainer.formats.labels import is_number

BETWEEN = "|"
"""Between several labels in one cell."""
_NO_ITEMS = "[]"


def cell_of(value: Any) -> str:
    """The cell of a value: null is empty, booleans are words, numbers stay as written, and a list is joined by ``|``.

    Lists of numbers may be boxes or ones and zeros for the classes, and lists in which a text repeats may be votes.

    Raises:
        ValueError: a cell cannot hold the value; the message is the end of a sentence.
    """
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, list):
        raise ValueError("holds an object; a table has texts, numbers, true, false and null, so leave it out")
    if not value:
        return _NO_ITEMS
    if not all(isinstance(item, str) and not isinstance(item, Number) and not is_number(item) for item in value):
        raise ValueError('holds a list of other things than texts; several labels are written as ["cat", "dog"]')
    if bad := [item for item in value if not item.strip() or (BETWEEN in item and len(value) > 1)]:
        raise ValueError(f"holds a list with {bad[0]!r}, which is no label; it may not be empty or hold {BETWEEN}")
    if len(set(value)) < len(value):
        raise ValueError("holds a list with a text that repeats; several labels are different ones")
    return BETWEEN.join(value)


def is_cell(value: Any) -> bool:
    """Whether a cell can hold a value."""
    try:
        cell_of(value)
    except ValueError:
        return False
    return True
