"""Rules for the values of descriptions, which may come from another machine."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

LONGEST_TEXT = 200
"""Characters of a note, a name of a folder, or any other text."""

Rule = Callable[[object], bool]
"""Whether a value of JSON is valid."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def text(pattern: str = r"[^\x00-\x1f\x7f]*", limit: int = LONGEST_TEXT) -> Rule:
    """A text of this pattern, without control characters unless the pattern allows them."""
    return lambda v: isinstance(v, str) and len(v) <= limit and re.fullmatch(pattern, v) is not None


def count(low: int = 0) -> Rule:
    """A whole number from ``low``."""
    return lambda v: type(v) is int and low <= v < 2**53


def number(value: object) -> bool:
    """Whether a value is a finite number or missing."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def digest(value: object) -> bool:
    """Whether a value is a SHA-256 in hexadecimal digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def scalars(value: object) -> bool:
    """Whether a value is an object of texts, numbers and truth values."""
    return isinstance(value, dict) and all(isinstance(v, str | int | float | bool) for v in value.values())
