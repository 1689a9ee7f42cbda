"""JSON that any program can read and any terminal can show."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from storage.database.urls import without_passwords
from trainer.inference.printable import printable

Document = dict[str, Any]


def print_document(document: Document) -> None:
    """Print a document on standard output as `encode` writes it, and nothing else."""
    text = encode(document)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeError:
        text = encode(document, ascii_only=True)
    sys.stdout.write(f"{text}\n")


def encode(document: Document, *, ascii_only: bool = False) -> str:
    """A document as JSON. Numbers that are not finite become null, and passwords in texts are masked.

    Args:
        ascii_only: escape all characters that are not ASCII. Otherwise only those are escaped that could change the
            terminal or that UTF-8 lacks.
    """
    text = json.dumps(_clean(document), ensure_ascii=ascii_only, allow_nan=False, indent=2)
    return text.translate({ord(c): _escaped(c) for c in set(text) - {"\n"} if printable(c) != c})


def moment(seconds: float | None) -> str | None:
    """Unix seconds as a time of ISO 8601 in UTC with milliseconds, such as ``2026-01-31T23:59:59.000Z``."""
    if seconds is None:
        return None
    text = datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {without_passwords(str(key)): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return without_passwords(str(value)) if isinstance(value, str) else value


def _escaped(character: str) -> str:
    """The escapes of a character that occurs in JSON only inside texts; two of UTF-16 for one beyond U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
