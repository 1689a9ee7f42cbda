"""Read and write delimited text tables: byte order mark, CRLF, quoted fields, and the delimiter found by itself."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.common.errors import DataError
from trainer.common.files import replacing
from trainer.formats.text.comments import without_comments
from trainer.formats.text.count_lines import without_count
from trainer.formats.text.encodings import UTF_8, UTF_16, bytes_of, decoded
from trainer.formats.text.rows import rows_of, sniff

SUFFIXES = (".csv", ".tsv", ".txt")
_JSON = (".json", ".jsonl", ".ndjson")
_SHOWN_RAGGED = 5  # rows of one wrong length that are named one by one
_BOM = b"\xef\xbb\xbf"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's own first line


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a table as strings, exactly as written. The first row may be a header.

    rows: the rows that are not blank; each has ``width`` cells.
    numbers: row number of each of ``rows`` as a spreadsheet shows it: from 1, blank rows counted.
    newline: line ending of the file.
    bom: whether the file starts with a byte order mark of UTF-8.
    encoding: name of the file's encoding.
    place: path of the file as messages name it; empty for its name alone.
    unit: what ``numbers`` count in messages, such as the lines of a file of JSON.
    header: whether the first row names the columns; None where the cells have to tell.
    lists: the columns in which the file itself lists several texts in a cell, with ``|`` between them.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    delimiter: str
    newline: str
    bom: bool
    encoding: str = UTF_8
    place: str = ""
    unit: str = "row"
    header: bool | None = None
    lists: frozenset[int] = frozenset()

    @property
    def name(self) -> str:
        """The file in messages: ``train.csv``, or ``labels/train.csv`` in a folder of the data."""
        return self.place or self.path.name

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.rows[0])

    def row_name(self, index: int) -> str:
        """The name of row ``index`` in messages: ``train.csv row 7``."""
        return f"{self.name} {self.unit} {self.numbers[index]}"


def read_table(path: Path, delimiter: str | None = None, *, encoding: str | None = UTF_8) -> Table:
    """Read a table in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Args:
        delimiter: None detects it from the content, and from the file extension if the content fits several. A first
            line ``sep=;``, as Excel writes it, decides.
        encoding: encoding of a table that is not UTF-8, such as ``cp1252``. None: such a table is refused, with the
            advice to name its encoding by ``--encoding``. `UTF_8`: it is refused where that option does not apply.

    Raises:
        DataError: the file cannot be read, is no text table in a known encoding, or has no rows, an open quotation
            mark, or rows of different lengths. Empty cells beyond the last column of the first row are dropped.
    """
    if path.suffix.lower() in _JSON:
        raise DataError(f"{path.name} is JSON, where a table of comma-separated values is expected: save it as CSV")
    data = bytes_of(path)
    text, used_encoding = decoded(path, data, encoding)
    text = without_count(without_comments(text))
    if stated := _SEPARATOR_LINE.match(text):
        text = text[stated.end() :]
        delimiter = delimiter or stated[1]
    if delimiter is None:
        delimiter = sniff(path, text)
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    number = 0
    try:
        for number, row in enumerate(rows_of(text, delimiter), 1):
            if any(cell.strip() for cell in row):
                rows.append(tuple(row))
                numbers.append(number)
    except csv.Error as error:
        raise DataError(
            f"{path.name} row {number + 1}: {error}; is a quotation mark left open? Inside of a quoted cell, write it "
            "twice"
        ) from error
    if not rows:
        raise DataError(f"{path.name} is empty: a table with one row per image is expected")
    width = len(rows[0])
    rows = [row if any(cell.strip() for cell in row[width:]) else row[:width] for row in rows]
    if ragged := _ragged(path.name, rows, numbers, delimiter):
        raise DataError(ragged)
    if width == 1 and len(rows) > 1 and text.lstrip().startswith('"') and _hold_rows([row[0] for row in rows]):
        raise DataError(
            f"{path.name}: each line as a whole stands in quotation marks, such as {rows[1][0]!r}: remove the marks"
        )
    return Table(
        path=path,
        rows=tuple(rows),
        numbers=tuple(numbers),
        delimiter=delimiter,
        newline="\r\n" if "\r\n" in text else "\n",
        bom=data.startswith(_BOM),
        encoding=used_encoding,
    )


def _hold_rows(cells: Sequence[str]) -> bool:
    """Whether each cell seems to be a row of the same number of cells."""
    return any(len({cell.count(mark) for cell in cells}) == 1 and mark in cells[0] for mark in ",;\t")


def read_lines(path: Path, encoding: str | None = None) -> list[str]:
    """The lines of a text file, in an encoding that `read_table` reads.

    Raises:
        DataError: the file cannot be read, or is no text in a known encoding.
    """
    return decoded(path, bytes_of(path), encoding)[0].splitlines()


def _ragged(name: str, rows: Sequence[Sequence[str]], numbers: Sequence[int], delimiter: str) -> list[str]:
    """One problem for each row of another length than the first, or for each length that many rows have."""
    by_length: dict[int, list[int]] = {}
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(rows[0]):
            by_length.setdefault(len(row), []).append(number)
    problems = []
    for length, found in sorted(by_length.items(), key=lambda entry: entry[1]):
        rest = f"{length} fields, the first row has {len(rows[0])} (delimiter {delimiter!r})"
        if len(found) > _SHOWN_RAGGED:
            shown = ", ".join(map(str, found[:_SHOWN_RAGGED]))
            title = "; if the first row is a title, remove it" if len(found) == len(rows) - 1 else ""
            problems.append(f"{name}: {len(found)} rows (such as {shown}) have {rest}{title}")
        else:
            problems += [f"{name} row {number} has {rest}" for number in found]
    return problems


def first_rows(path: Path, count: int, *, encoding: str | None = None, most_bytes: int = 2**20) -> list[list[str]]:
    """Up to ``count`` rows from the beginning of a table, without reading all of a large file.

    Raises:
        DataError: the file cannot be read or is no text table in a known encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes)
            cut = bool(file.read(1))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if cut:
        wide = data.startswith(UTF_16) or b"\0" in data[:4]
        data = path.read_bytes() if wide else data[: data.rfind(b"\n") + 1]
    text, _ = decoded(path, data, encoding)
    text = without_count(without_comments(text))
    stated = _SEPARATOR_LINE.match(text)
    text = text[stated.end() :] if stated else text
    rows: list[list[str]] = []
    try:
        for row in islice(rows_of(text, stated[1] if stated else sniff(path, text)), count):
            rows.append(row)
    except csv.Error:
        pass  # the end of what was read may be inside of a quoted cell
    return rows


def write_table(
    path: Path, rows: Iterable[Sequence[str]], *, delimiter: str = ",", newline: str = "\n", bom: bool = False
) -> None:
    """Write rows of cells, quoted only where `read_table` needs it. A failure leaves no partial file."""
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file,
    ):
        for row in rows:
            file.write(delimiter.join(_written(cell, delimiter, alone=len(row) == 1) for cell in row) + newline)


def _written(cell: str, delimiter: str, *, alone: bool) -> str:
    """A cell as text. A leading blank needs quotation marks, because `read_table` skips blanks after a delimiter."""
    special = any(character in cell for character in (delimiter, '"', "\r", "\n"))
    apart = delimiter == " " and (not cell or "\t" in cell)
    if special or apart or cell.startswith(" ") or (alone and not cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell
