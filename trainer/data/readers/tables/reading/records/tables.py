"""Tables in JSON: one flat object a line, or a list of such objects, each with the name of an image file.

JSON has many other uses beside images: logs of trainings, settings, classes. Their numbers may be those of images, so
that only file names with their extensions make a table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainer.common.errors import DataError
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.tables.reading.records.cells import BETWEEN, cell_of
from trainer.data.readers.tables.reading.records.entries import (
    BrokenJsonError,
    Entry,
    entries_of_lines,
    entries_of_list,
)
from trainer.data.readers.tables.reading.records.forms import Form, form_of, meant_form, state_of
from trainer.formats.delimited import Table
from trainer.formats.text.encodings import UTF_8, bytes_of, decoded

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
MOST_TABLES = 30
"""Files ``.json`` in a folder of which each may be a table."""
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_SPARSE_CELLS, _SPARSE = 10**6, 20
"""Objects with other keys each would fill the memory with missing cells."""
_EXAMPLE = '{"file_name": "1.jpg", "label": "cat"}'
_Record = tuple[int, Sequence[tuple[str, Any]]]
"""A line, and the values of a row with the names of their columns."""


def is_json(path: Path) -> bool:
    """Whether a file is JSON by its extension."""
    return path.suffix.lower() in JSON_SUFFIXES


def is_json_table(path: Path) -> bool:
    """Whether a file is plainly a table in JSON: it begins as one, all of it can be read, and it names images.

    One of many ``.json`` in a folder describes a single image, as those of LabelMe do.
    """
    if not is_json(path) or _is_one_of_many(path) or form_of(path) is None:
        return False
    return not isinstance(_read(path), DataError)


def _is_one_of_many(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    try:
        return _json_files(path.parent, path.parent.stat().st_mtime_ns) > MOST_TABLES
    except OSError:  # the reader of the folder reports it
        return False


@lru_cache(maxsize=2**12)
def _json_files(folder: Path, changed: int) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.name.lower().endswith(".json") for entry in entries)


def json_table(path: Path) -> Table:
    """Read a table in JSON, with the cells that a CSV of the same table would have.

    Columns come in the order in which their names appear, and an object that lacks one has an empty cell there. Cells
    of several texts are named by `Table.lists`.

    Raises:
        DataError: the file cannot be read, or is no table; the message names the line.
    """
    found = _read(path)
    if isinstance(found, DataError):
        raise found
    return found


def json_problem(path: Path) -> str:
    """Why a file of JSON is no table, as a sentence that names the line; empty if it is one, or nothing like one."""
    found = _read(path) if meant_form(path) is not None else None
    return str(found) if isinstance(found, DataError) else ""


def _read(path: Path) -> Table | DataError:
    try:
        return _cached(path, *state_of(path))
    except OSError as error:
        return DataError(f"{path.name} cannot be read: {error.strerror or error}")


def forget_tables() -> None:
    """Free the memory of the tables that were read last."""
    _cached.cache_clear()


@lru_cache(maxsize=16)
def _cached(path: Path, changed: int, size: int) -> Table | DataError:
    """The table, or why there is none. Several rules look at the same file."""
    try:
        return _table(path)
    except DataError as error:
        return error


def _table(path: Path) -> Table:
    form = meant_form(path)
    if form is None:
        raise DataError(
            f"{path.name} is no table: a table in JSON is a list of objects such as {_EXAMPLE}, or one such object in "
            "each line"
        )
    text, encoding = decoded(path, bytes_of(path), UTF_8)
    try:
        records = list(_records(form, text))
        header, rows, lists = _filled(records)
    except BrokenJsonError as error:
        raise DataError(f"{path.name} {error}") from error
    if not rows or not rows[0]:
        raise DataError(f"{path.name} is empty: a table with one object per image is expected, such as {_EXAMPLE}")
    if not any(all(is_image_name(row[column]) for row in rows) for column in range(len(header))):
        raise DataError(
            f"{path.name} names no image in each of its objects: they have to hold file names with their extensions, "
            f"such as {_EXAMPLE}"
        )
    lines = [line for line, _ in records]
    apart = len(set(lines)) == len(lines)
    numbers = lines if apart else list(range(1, len(lines) + 1))
    return Table(
        path=path,
        rows=(header, *rows),
        numbers=(numbers[0], *numbers),
        delimiter=",",
        newline="\n",
        bom=False,
        encoding=encoding,
        unit="line" if apart else "record",
        header=True,
        lists=lists,
    )


def _records(form: Form, text: str) -> Iterator[_Record]:
    """The rows of a table.

    Raises:
        BrokenJsonError: the text is no table of this form.
    """
    for entry in entries_of_lines(text) if form == "lines" else entries_of_list(text):
        if not isinstance(entry.value, dict):
            raise BrokenJsonError(entry.line, f"{_kind(entry)} stands where an object such as {_EXAMPLE} belongs")
        yield entry.line, list(entry.value.items())


def _kind(entry: Entry) -> str:
    if isinstance(entry.value, list):
        return "a list"
    return "null" if entry.value is None else f"{str(entry.value)[:40]!r}"


def _filled(records: Sequence[_Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]], frozenset[int]]:
    """The header, the rows, and the columns with cells of several texts or none.

    Raises:
        BrokenJsonError: a cell cannot hold a value, or the objects have different keys.
    """
    columns: dict[str, int] = {}
    found: list[dict[int, str]] = []
    lists: set[int] = set()
    marked: list[tuple[int, int, str]] = []  # texts with the mark that stands between several
    for line, values in records:
        cells: dict[int, str] = {}
        for name, value in values:
            column = columns.setdefault(_usable(name, line), len(columns))
            try:
                cells[column] = _usable(cell_of(value), line)
            except ValueError as error:
                raise BrokenJsonError(line, f"{name[:60]!r} {error}") from error
            if isinstance(value, list) and len(value) != 1:
                lists.add(column)
            elif BETWEEN in cells[column]:
                marked.append((column, line, cells[column]))
        found.append(cells)
    for column, line, cell in marked:
        if column in lists:
            raise BrokenJsonError(line, f"{cell[:60]!r} holds {BETWEEN}, which stands between several labels")
    width = len(columns)
    if len(found) * width > max(_SPARSE_CELLS, _SPARSE * sum(map(len, found))):
        raise BrokenJsonError(records[0][0], f"the objects have {width} different keys, and each has few of them")
    rows = [tuple(cells.get(column, "") for column in range(width)) for cells in found]
    return tuple(columns), rows, frozenset(lists)


def _usable(text: str, line: int) -> str:
    """A text without characters that no file name and no database holds."""
    if _UNUSABLE.search(text):
        raise BrokenJsonError(line, f"{text[:60]!a} holds a character that is no text")
    return text
