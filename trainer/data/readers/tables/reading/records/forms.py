"""The forms in which JSON is a table, recognised by the beginning of a file."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from trainer.data.readers.tables.reading.records.cells import is_cell
from trainer.data.readers.tables.reading.records.entries import BrokenJsonError, first_value
from trainer.formats.text.encodings import UTF_16

Form = Literal["lines", "records"]
"""A flat object a line; a list of flat objects."""
_OF_LINES = (".jsonl", ".ndjson")
_BEGINNING, _LONG_BEGINNING = 2**16, 2**22  # bytes; the second where the first object of a list is longer


def form_of(path: Path) -> Form | None:
    """The form of a table by the beginning of the file; None for something else."""
    try:
        return _cached_form(path, *state_of(path)) if path.is_file() else None
    except OSError:  # the reader of the folder reports it where it matters
        return None


def meant_form(path: Path) -> Form | None:
    """The form that a file may be meant to have: by its beginning, else by its extension and first character."""
    if (form := form_of(path)) is not None:
        return form
    try:
        first = _beginning(path).lstrip()[:2]
    except OSError:
        return None
    if first[:1] == "[" and first != "[]":
        return "records"
    return "lines" if path.suffix.lower() in _OF_LINES and first[:1] == "{" else None


def state_of(path: Path) -> tuple[int, int]:
    """What changes with the content of a file.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2**16)
def _cached_form(path: Path, changed: int, size: int) -> Form | None:
    text, of_lines = _beginning(path), path.suffix.lower() in _OF_LINES
    form = _form(text, of_lines=of_lines)
    if form is None and size > _BEGINNING and text.lstrip().startswith("["):
        form = _form(_beginning(path, _LONG_BEGINNING), of_lines=of_lines)
    return form


def _beginning(path: Path, most_bytes: int = _BEGINNING) -> str:
    with path.open("rb") as file:
        data = file.read(most_bytes)
    encoding = "utf-16" if data.startswith(UTF_16) else "utf-8-sig"
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


def _form(text: str, *, of_lines: bool) -> Form | None:
    try:
        if text.lstrip().startswith("["):
            value, _ = first_value(text, text.index("[") + 1)
            return "records" if _is_flat(value) else None
        value, end = first_value(text)
    except BrokenJsonError:
        return None
    if not _is_flat(value):
        return None
    followed = re.match(r"[ \t]*[\r\n]\s*\{", text[end:]) is not None
    return "lines" if followed or of_lines else None


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(is_cell, value.values()))
