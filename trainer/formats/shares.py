"""Cells of one-hot and probability columns: 0, 1, TRUE, FALSE, a mark, a probability, or 1 and -1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.formats.labels import is_number

# fmt: off
YES = frozenset((
    "true", "t", "yes", "y", "wahr", "vrai", "verdadero", "verdadeiro", "vero", "x", "✓", "✔", "○", "◯", "●",
    "ja", "oui", "si", "sí", "sì", "sim", "да", "так", "tak", "ano", "evet", "igen", "kyllä",
    "はい", "あり", "有", "是", "예",
))
"""Words and marks that say yes, in lower case."""
NO = frozenset((
    "false", "f", "no", "n", "falsch", "faux", "falso", "✗", "✘", "\u00d7",
    "nein", "non", "não", "nao", "нет", "ні", "nie", "ne", "hay\u0131r", "nem", "ei", "nee", "nej",
    "いいえ", "なし", "無", "无", "否", "아니오",
))
"""Words and marks that say no, in lower case."""
# fmt: on
_FALSE = NO | {"", "-"}
_COMMA = re.compile(r"^(\d+),(\d+)$")
"""A number with a decimal comma."""


def share(cell: str) -> float | None:
    """The value of a cell, 0 to 1: a number, or 1 for TRUE, yes or a mark, and 0 for FALSE, no or an empty cell.

    None for another cell.
    """
    text = _COMMA.sub(r"\1.\2", cell.strip().strip("'\"").lower())
    if is_number(text):
        value = float(text)
        return value if 0 <= value <= 1 else None
    return 1.0 if text in YES else 0.0 if text in _FALSE else None


def signed_share(cell: str) -> float | None:
    """The value of a cell of a table that writes 1 for yes and -1 for no: 1 or 0; None for another cell."""
    text = cell.strip().strip("'\"")
    return {1.0: 1.0, -1.0: 0.0}.get(float(text)) if is_number(text) else None


def are_signed(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells are 1 or -1, and both occur. A 0 beside them would give -1 another meaning, such as unsure."""
    return {signed_share(cell) for row in rows for cell in row} == {0.0, 1.0}


def are_shares(rows: list[list[str]], tolerance: float) -> bool:
    """Whether the cells are one-hot or probabilities: shares that add up to 1 in every row, in columns with content.

    Args:
        rows: the cells of the columns in question alone.
        tolerance: largest distance from 1 of the sum of a row.
    """
    if not rows or not all(any(cell.strip() for cell in column) for column in zip(*rows, strict=True)):
        return False
    for row in rows:
        values = [share(cell) for cell in row]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or abs(sum(known) - 1) > tolerance:
            return False
    return True
