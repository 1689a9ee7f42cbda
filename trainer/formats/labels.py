"""Convert labels, as the data spell them, to class names in a fixed order and class indices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Control characters, unpaired surrogates, line and paragraph separators: tables, logs and web pages show the names.
_REFUSED_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")


def is_integer(text: str) -> bool:
    """Whether a label is a whole number, such as ``7``, ``-1`` or ``007``."""
    return _INTEGER.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Whether a label is a finite decimal number."""
    return _NUMBER.fullmatch(text) is not None


def text_problem(text: str) -> str | None:
    """Why an id or class name cannot be used, as the end of a sentence (\"is empty\"); None if it can."""
    if not text.strip():
        return "is empty"
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text):
        return f"holds a control character: {text!r}"
    return None


def order_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels, sorted by value if all are numbers (10 follows 9), else by their characters."""
    distinct = set(labels)
    if all(is_number(label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (float(label), label)))
    return tuple(sorted(distinct))


def encode(labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names in their fixed order, and the class index of each label, int64 (n,).

    Raises:
        DataError: fewer than two classes.
    """
    names = order_classes(labels)
    if len(names) < 2:
        given = f"all {len(labels)} images are labelled {names[0]!r}" if names else "there is no labelled image"
        raise DataError(f"{given}; at least two classes are needed")
    index = {name: position for position, name in enumerate(names)}
    return names, np.array([index[label] for label in labels], np.int64)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for natural order: ``2.jpg`` comes before ``10.jpg``."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)
