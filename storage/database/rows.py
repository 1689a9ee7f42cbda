"""Checks of database rows before they become values.

A database may be damaged or come from elsewhere, and SQLite stores any type in any column. So a row is checked like any
other input: `check_row` accepts it or raises one `DamagedRowError` that names table, row, column and value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from storage.database.blobs import unpack
from storage.errors import DamagedRowError, StorageError
from storage.values import TRIAL_NOTE

Check = Callable[[Any], bool]
Rule = tuple[Check, str]
"""Whether a value is valid, and what is valid in words."""

LARGEST = 2**63 - 1
"""Largest integer of a column."""
COUNT = 2**31 - 1
"""Largest count, index or number of epochs."""
LATEST = 253_339_228_800
"""Latest time of a column, Unix seconds: the begin of the year 9998."""
LONGEST = 10**10
"""Longest duration of a column."""
PATH = 4096
"""Longest path of a column, in characters."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")
_SHOWN = 60  # characters of a value in a message


def integer(low: int = -LARGEST - 1, high: int = LARGEST) -> Rule:
    """A whole number from ``low`` to ``high``."""
    return lambda v: type(v) is int and low <= v <= high, f"a whole number from {low} to {high}"


def number(low: float = -math.inf, *, above: bool = False) -> Rule:
    """A finite number of at least ``low``, or ``above`` it."""
    words = "a finite number" + ("" if low == -math.inf else f" {'above' if above else 'of at least'} {low:g}")
    return lambda v: _is_number(v) and (v > low if above else v >= low), words


def moment() -> Rule:
    """A time: Unix seconds from 1970 to `LATEST`, so that it has a date in every time zone."""
    return lambda v: _is_number(v) and 0 <= v <= LATEST, f"a time from 0 to {LATEST} Unix seconds"


def duration() -> Rule:
    """Seconds, or hours, of at least 0 and at most `LONGEST`."""
    return lambda v: _is_number(v) and 0 <= v <= LONGEST, f"a duration from 0 to {LONGEST}"


def text(limit: int = 10_000, pattern: str = "") -> Rule:
    """A text of at most ``limit`` characters, without NUL, that matches ``pattern``."""
    words = f"a text of at most {limit} characters" + (f" like {pattern}" if pattern else "")
    return (
        lambda v: (
            isinstance(v, str) and len(v) <= limit and "\0" not in v and (not pattern or bool(re.fullmatch(pattern, v)))
        ),
        words,
    )


def folder() -> Rule:
    """An absolute path of a folder, of at most `PATH` characters, without NUL. It may not exist on this machine."""
    return (
        lambda v: isinstance(v, str) and v.startswith("/") and len(v) <= PATH and "\0" not in v,
        f"an absolute path of at most {PATH} characters",
    )


def name() -> Rule:
    """A name that may become a part of a path: of a study or of imported predictions."""
    return lambda v: isinstance(v, str) and bool(_NAME.fullmatch(v)), (
        "a name: up to 200 ASCII letters, digits, dots, dashes, underscores and @, beginning with a letter or digit"
    )


def one_of(values: Any) -> Rule:
    """One of the values of an enumeration."""
    valid = [str(value) for value in values]
    return lambda v: isinstance(v, str) and v in valid, f"one of {', '.join(valid)}"


def texts() -> Rule:
    """A list of texts without NUL."""
    return lambda v: isinstance(v, list) and all(isinstance(t, str) and "\0" not in t for t in v), "a list of texts"


def numbers() -> Rule:
    """A list of finite numbers or NULL."""
    return lambda v: isinstance(v, list) and all(x is None or _is_number(x) for x in v), "a list of numbers"


def label_decisions() -> Rule:
    """A list of triples: id of an image, its label, and the label that it has instead, or NULL."""
    return (
        lambda v: (
            isinstance(v, list)
            and all(
                isinstance(each, list)
                and len(each) == 3
                and all(isinstance(cell, str) and "\0" not in cell for cell in each[: 2 if each[2] is None else 3])
                for each in v
            )
        ),
        "a list of (id, label, other label or NULL)",
    )


def document() -> Rule:
    """A JSON object."""
    return lambda v: isinstance(v, dict), "a JSON object"


def note() -> Rule:
    """The note of a work item: a JSON object, in which the number of a trial is a whole number."""
    return lambda v: isinstance(v, dict) and type(v.get(TRIAL_NOTE, 0)) is int, (
        f"a JSON object with a whole number under {TRIAL_NOTE!r}, if anything"
    )


def recipe() -> Rule:
    """A flat recipe. `trainer.recipe.recipe.Recipe.from_flat` checks its fields."""
    return lambda v: isinstance(v, dict) and all(_is_setting(value) for value in v.values()), (
        "a recipe: a JSON object of texts, finite numbers and booleans"
    )


def blob() -> Rule:
    """Bytes, of `storage.database.blobs`."""
    return lambda v: isinstance(v, bytes), "bytes"


def networks() -> Rule:
    """Digests of weights files (`storage.artifacts.ArtifactFolder.digests`)."""
    path = re.compile(r"weights/[A-Za-z0-9][A-Za-z0-9._@-]*/\d{1,19}/fold\d{1,4}\.safetensors")
    return (
        lambda v: (
            isinstance(v, dict)
            and all(
                path.fullmatch(file) and isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
                for file, digest in v.items()
            )
        ),
        "a JSON object of weights files and their SHA-256",
    )


def optional(rule: Rule) -> Rule:
    """NULL, or as ``rule``."""
    check, words = rule
    return lambda v: v is None or check(v), f"{words}, or NULL"


def check_row(table: str, row: Mapping[Any, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The values of a row, if all are valid.

    Args:
        row: values by attribute; those without a rule are not checked.

    Raises:
        DamagedRowError: a value is not valid.
    """
    for column, (check, words) in rules.items():
        if not check(row[column]):
            key = row.get("id", row.get("name", row.get("fingerprint", "")))
            raise damaged(table, key, f"{column} is {_shown(row[column])}, not {words}")
    return dict(row)


def unpacked(blob: bytes, table: str, key: object, column: str) -> npt.NDArray[np.generic]:
    """The array of a column (`storage.database.blobs.unpack`).

    Raises:
        DamagedRowError: the bytes are damaged.
    """
    try:
        return unpack(blob)
    except StorageError as error:
        raise damaged(table, key, f"{column} cannot be read: {error}") from error


def damaged(table: str, key: object, problem: str) -> DamagedRowError:
    """The error for an invalid row. ``key`` identifies the row in the table."""
    return DamagedRowError(
        f"the database is damaged: in {table}, row {_shown(key)}, {problem}. Restore a backup of the database, or "
        "correct the row"
    )


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= LARGEST)


def _is_setting(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except RecursionError:
        return "deeply nested"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
