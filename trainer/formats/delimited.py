"""Read and write delimited text tables: byte order mark, CRLF, quoted fields, and the delimiter found by itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trainer.common.errors import DataError
from trainer.common.files import replacing
from trainer.formats.blank_labels import split_at_label
from trainer.formats.comments import without_comments
from trainer.formats.count_lines import without_count
from trainer.inference.file_kinds import HEAD, kind_of_bytes

SUFFIXES = (".csv", ".tsv", ".txt")
DELIMITERS = (",", "\t", ";", "|", " ")
"""Delimiters that are tried, the usual ones first. A blank stands for any run of blanks and tabs."""
SNIFFED_ROWS = 50  # rows from which the delimiter is detected
_SHOWN_RAGGED = 5  # rows of one wrong length that are named one by one
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's own first line
# Blanks of any kind beside a quoted field; csv skips only U+0020, and only before it.
_BLANK = r"(?:(?!{delimiter})[^\S\r\n]|[\u200b\ufeff])+"
_BLANK_BEFORE_QUOTE = rf'(^|{{delimiter}}){_BLANK}(?=")'
_BLANK_AFTER_QUOTE = rf'"{_BLANK}(?={{delimiter}}|[\r\n]|\Z)'
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?![^ \t])|([^ \t]+)')  # of a row whose delimiter is a blank
_IMAGE_AT_END = re.compile(r"\.(?:jpe?g|png|bmp|gif|tiff?|webp)$", re.IGNORECASE)
_NO_TABLES = {
    "a Git LFS pointer": "run `git lfs pull` to fetch the table",
    "an HTML page": "perhaps the error page of a download: download it again",
}
"""Kinds of text files that stand where a table was expected, and what to do."""
UTF_8 = "utf-8"
_OTHER_ENCODINGS = ("cp1252", "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "cp1256")
"""Excel's in Western Europe and Japan, Unix's in Japan; Excel's in China, Taiwan and Korea, for Cyrillic and Arabic."""
_SHOWN_READINGS = 4


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of a table as strings, exactly as written. The first row may be a header.

    rows: the rows that are not blank; each has ``width`` cells.
    numbers: row number of each of ``rows`` as a spreadsheet shows it: from 1, blank rows counted.
    newline: line ending of the file.
    bom: whether the file starts with a byte order mark of UTF-8.
    encoding: name of the file's encoding.
    """

    path: Path
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    delimiter: str
    newline: str
    bom: bool
    encoding: str = UTF_8

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.rows[0])

    def row_name(self, index: int) -> str:
        """The name of row ``index`` in messages: ``train.csv row 7``."""
        return f"{self.path.name} row {self.numbers[index]}"


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
    data = _bytes_of(path)
    text, used_encoding = _decoded(path, data, encoding)
    text = without_count(without_comments(text))
    if stated := _SEPARATOR_LINE.match(text):
        text = text[stated.end() :]
        delimiter = delimiter or stated[1]
    if delimiter is None:
        delimiter = _sniff(path, text)
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    number = 0
    try:
        for number, row in enumerate(_rows_of(text, delimiter), 1):
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
    return _decoded(path, _bytes_of(path), encoding)[0].splitlines()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error


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
        wide = data.startswith(_UTF_16) or b"\0" in data[:4]
        data = path.read_bytes() if wide else data[: data.rfind(b"\n") + 1]
    text, _ = _decoded(path, data, encoding)
    text = without_count(without_comments(text))
    stated = _SEPARATOR_LINE.match(text)
    text = text[stated.end() :] if stated else text
    rows: list[list[str]] = []
    try:
        for row in islice(_rows_of(text, stated[1] if stated else _sniff(path, text)), count):
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


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, str]:
    """The text of a file, without a byte order mark, and the name of its encoding."""
    kind = kind_of_bytes(data[:HEAD])
    if kind is not None and kind.name in _NO_TABLES:
        raise DataError(f"{path.name} is not a table but {kind.name}: {_NO_TABLES[kind.name]}")
    for marks, name in ((_UTF_32, "utf-32"), (_UTF_16, "utf-16")):
        if data.startswith(marks):
            try:
                return data.decode(name), name
            except UnicodeDecodeError as error:
                raise DataError(f"{path.name} is cut off or no {name.upper()} text; save it as CSV in UTF-8") from error
    if b"\0" not in data:
        try:
            return data.decode("utf-8-sig"), UTF_8
        except UnicodeDecodeError as error:
            start = error.start
        if encoding in (None, UTF_8):
            raise DataError(_not_utf_8(path, data, start, may_be_named=encoding is None))
    elif encoding in (None, UTF_8):
        raise DataError(
            f"{path.name} is not a text table but a binary file, or UTF-16 text without a byte order mark; save it as "
            "CSV in UTF-8"
        )
    assert encoding is not None
    try:
        text = data.decode(encoding)
        if len(text) == len(data):  # one byte for each character
            _refuse_mixture(path, data, encoding)
        return text, encoding
    except LookupError as error:
        raise DataError(f"there is no encoding {encoding!r}; usual ones are cp1252, cp932, utf-16-le") from error
    except UnicodeError as error:
        raise DataError(f"{path.name} is neither UTF-8 nor {encoding} text; save it as CSV in UTF-8") from error


def _refuse_mixture(path: Path, data: bytes, encoding: str) -> None:
    """Raise a DataError if a row is UTF-8 text, though the table is not: its letters would become several signs."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.isascii():
            continue
        try:
            read = line.decode().strip()
        except UnicodeDecodeError:
            continue
        raise DataError(
            f"{path.name} row {number} is UTF-8 text ({read[:60]!r}), but other rows are not: as {encoding} it would "
            f"be {line.decode(encoding).strip()[:60]!r}. Save the table as CSV in UTF-8"
        )


def _not_utf_8(path: Path, data: bytes, start: int, *, may_be_named: bool) -> str:
    """Message for a file whose byte at ``start`` is not UTF-8, with the readings of other encodings.

    Args:
        may_be_named: whether ``--encoding`` applies to the file.
    """
    line = data[data.rfind(b"\n", 0, start) + 1 :].split(b"\n", 1)[0].rstrip(b"\r")
    by_encoding: dict[str, str] = {}
    for encoding in _OTHER_ENCODINGS:
        try:
            by_encoding[encoding] = line.decode(encoding)
        except UnicodeDecodeError:
            continue
    likely = sorted(by_encoding, key=lambda encoding: -_share_of_letters(by_encoding[encoding]))[:_SHOWN_READINGS]
    readings = [f"{encoding} reads it as {by_encoding[encoding][:60]!r}" for encoding in likely]
    row = data.count(b"\n", 0, start) + 1
    advice = "Save the table as CSV in UTF-8"
    if may_be_named:
        advice = "Add --encoding NAME if one of these is right, or save the table as CSV in UTF-8"
    return f"{path.name} row {row} is not UTF-8 text{''.join(f'; {reading}' for reading in readings)}. {advice}"


def _share_of_letters(text: str) -> float:
    """Share of letters among the characters beyond ASCII; a wrong encoding also gives signs."""
    others = [character for character in text if not character.isascii()]
    return sum(map(str.isalpha, others)) / len(others) if others else 1.0


def _rows_of(text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table; those of a list of names and labels have two cells, also where a label holds blanks."""
    if '"' not in text and (delimiter == " " or delimiter not in text):
        lines = text.splitlines()
        if (rows := split_at_label(lines)) is not None:
            found = iter(rows)
            return (next(found) if line.strip() else [] for line in lines)
    return _parse(text, delimiter)


def _parse(text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table, one at a time. Blanks beside a quoted field are no part of it.

    Raises:
        csv.Error: a quotation mark that is left open, or text after a closing one.
    """
    if delimiter == " ":
        yield from (_blank_separated(line.rstrip("\r")) for line in text.split("\n"))
        return
    text = re.sub(_BLANK_BEFORE_QUOTE.format(delimiter=re.escape(delimiter)), r"\1", text, flags=re.MULTILINE)
    done = 0
    try:
        for row in _reader(text, delimiter):
            yield row
            done += 1
        return
    except csv.Error:
        tidy = re.sub(_BLANK_AFTER_QUOTE.format(delimiter=re.escape(delimiter)), '"', text)
        if tidy == text:
            raise
    yield from islice(_reader(tidy, delimiter), done, None)


def _reader(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)


def _blank_separated(line: str) -> list[str]:
    return [bare or quoted.replace('""', '"') for quoted, bare in _FIELD.findall(line)]


def _sniff(path: Path, text: str) -> str:
    """The first delimiter that splits every row into the same number of fields, two or more.

    The file extension decides which delimiter is tried first, so labels may hold other delimiters. Blanks separate
    fields only where nothing else does, and not where every row ends in the name of an image: such rows are file names
    with blanks.
    """
    first = "\t" if path.suffix.lower() == ".tsv" else ","
    order = (first, *(other for other in DELIMITERS if other != first))
    splits_header = ""
    for delimiter in order:
        try:
            rows = [row for row in islice(_parse(text, delimiter), SNIFFED_ROWS) if any(row)]
        except csv.Error:
            continue
        if delimiter == " " and (splits_header or all(_IMAGE_AT_END.search(row[-1]) for row in rows)):
            continue
        widths = [len(row) for row in rows]
        if widths and widths[0] > 1:
            if len(set(widths)) == 1:
                return delimiter
            splits_header = splits_header or delimiter if delimiter != " " else splits_header
    return splits_header or first
