"""Read and write delimited text tables: comma, tab or semicolon, byte order mark, CRLF, quoted fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.common.errors import DataError
from trainer.common.files import replacing

SUFFIXES = (".csv", ".tsv", ".txt")
DELIMITERS = (",", "\t", ";")
SNIFFED_ROWS = 50  # rows from which the delimiter is detected
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a table as strings, exactly as written. The first row may be a header.

    rows: the rows that are not blank; each has ``width`` cells.
    numbers: row number of each of ``rows`` as a spreadsheet shows it: from 1, blank rows counted.
    newline: line ending of the file.
    bom: whether the file starts with a byte order mark.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    delimiter: str
    newline: str
    bom: bool

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.rows[0])

    def row_name(self, index: int) -> str:
        """The name of row ``index`` in messages: ``train.csv row 7``."""
        return f"{self.path.name} row {self.numbers[index]}"


def read_table(path: Path, delimiter: str | None = None) -> Table:
    """Read a table in UTF-8.

    Args:
        delimiter: None detects it from the content, and from the file extension if the content fits several.

    Raises:
        DataError: the file cannot be read, is not UTF-8 text, or has no rows, an open quotation mark, or rows of
            different lengths (every one is named).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
    text = _text(path, data)
    if delimiter is None:
        delimiter = _sniff(path, text)
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    number = 0
    try:
        for number, row in enumerate(_parse(text, delimiter), 1):
            if any(cell.strip() for cell in row):
                rows.append(tuple(row))
                numbers.append(number)
    except csv.Error as error:
        raise DataError(f"{path.name} row {number + 1}: {error}; is a quotation mark left open?") from error
    if not rows:
        raise DataError(f"{path.name} is empty: a table with one row per image is expected")
    ragged = [
        f"{path.name} row {number} has {len(row)} fields, the first row has {len(rows[0])} (delimiter {delimiter!r})"
        for row, number in zip(rows, numbers, strict=True)
        if len(row) != len(rows[0])
    ]
    if ragged:
        raise DataError(ragged)
    newline = "\r\n" if b"\r\n" in data else "\n"
    return Table(
        path=path,
        rows=tuple(rows),
        numbers=tuple(numbers),
        delimiter=delimiter,
        newline=newline,
        bom=data.startswith(_BOM),
    )


def write_table(
    path: Path, rows: Iterable[Sequence[str]], *, delimiter: str = ",", newline: str = "\n", bom: bool = False
) -> None:
    """Write rows of cells, quoted only where needed. A failure leaves no partial file."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file,
    ):
        csv.writer(file, delimiter=delimiter, lineterminator=newline).writerows(rows)


def _text(path: Path, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path.name} is UTF-16 text; save it as CSV in UTF-8")
    if b"\0" in data:
        raise DataError(f"{path.name} is not a text table but a binary file; export it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name} row {row} is not UTF-8 text; save the table as CSV in UTF-8") from error


def _parse(text: str, delimiter: str) -> Iterable[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _sniff(path: Path, text: str) -> str:
    """The first delimiter that splits every row into the same number of fields, two or more.

    The file extension decides which delimiter is tried first, so labels may hold other delimiters.
    """
    first = "\t" if path.suffix.lower() == ".tsv" else ","
    order = (first, *(other for other in DELIMITERS if other != first))
    splits_header = ""
    for delimiter in order:
        try:
            widths = [len(row) for row in islice(_parse(text, delimiter), SNIFFED_ROWS) if any(row)]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            if len(set(widths)) == 1:
                return delimiter
            splits_header = splits_header or delimiter
    return splits_header or first
