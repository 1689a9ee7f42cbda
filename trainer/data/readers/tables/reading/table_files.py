"""Tables of a data folder, in delimited text or in JSON, as the same value."""

from __future__ import annotations

from pathlib import Path

from trainer.data.readers.tables.reading.records.tables import is_json, is_json_table, json_table
from trainer.formats import delimited
from trainer.formats.delimited import SUFFIXES, Table
from trainer.formats.text.encodings import UTF_8

SPREADSHEETS = (".csv", ".tsv")
"""Extensions that say that a file is a table; a text file may be something else."""


def is_table(path: Path) -> bool:
    """Whether a file may be a table: delimited text by its extension, or plainly a table in JSON."""
    return path.suffix.lower() in SUFFIXES or is_json_table(path)


def is_surely_table(path: Path) -> bool:
    """Whether a file is a table, and no text of another kind."""
    return path.suffix.lower() in SPREADSHEETS or is_json_table(path)


def read_table(path: Path, *, encoding: str | None = UTF_8) -> Table:
    """Read a table as `trainer.formats.delimited.read_table`, or one in JSON, which is UTF-8 always.

    Raises:
        DataError: the file cannot be read, or is no table.
    """
    return json_table(path) if is_json(path) else delimited.read_table(path, encoding=encoding)


def read_lines(path: Path, encoding: str | None = None) -> list[str]:
    """The lines of a text file, or those of a CSV of a table in JSON.

    Raises:
        DataError: the file cannot be read, or is no text in a known encoding.
    """
    if is_json_table(path):
        return [",".join(row) for row in json_table(path).rows]
    return delimited.read_lines(path, encoding)


def first_rows(path: Path, count: int, *, encoding: str | None = None, most_bytes: int = 2**20) -> list[list[str]]:
    """Up to ``count`` rows from the beginning of a table.

    Args:
        most_bytes: what is read of a large file of delimited text.

    Raises:
        DataError: the file cannot be read, or is no table.
    """
    if is_json(path):
        return [list(row) for row in json_table(path).rows[:count]]
    return delimited.first_rows(path, count, encoding=encoding, most_bytes=most_bytes)
