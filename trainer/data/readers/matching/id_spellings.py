"""Other spellings of an id: what spreadsheets, web addresses and labelling tools make of a file name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote

from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES

_ATTACHED = re.compile(r"(.*[^\s])\s+\(https?://[^\s()]*\)")  # Airtable's name and address of one file
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")
_EXCEL_TEXT = re.compile(r'="?([^"]*)"?')  # a formula that keeps the zeros of 007
_QUOTED = re.compile(r"(['\"`\u2018\u201c])(.*[^\s])['\"`\u2019\u201d]")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_DECIMAL_COMMA = re.compile(r"(\d+),0{1,2}")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+")
_NUMBER = re.compile(r"(\d{1,18})(?:\.0+)?", re.ASCII)  # 7.0: a column of whole numbers with a gap
_WORD_AND_NUMBER = re.compile(r"(\D*[^\W\d_])[\W_]*\d+")
_PADDING = re.compile(r"(?<!\d)0+(?=\d)", re.ASCII)


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text)


def slashes(cell: str) -> str:
    """An id without blanks around it, with ``/`` between folders."""
    return cell.strip().replace("\\", "/")


def has_image_suffix(cell: str) -> bool:
    """Whether an id ends in the extension of image files."""
    return PurePosixPath(slashes(cell)).suffix.lower() in IMAGE_SUFFIXES


def is_image_name(cell: str) -> bool:
    """Whether a cell is the name, path or web address of an image file."""
    name = without_address(cell) or cell
    return has_image_suffix(without_query(name) or name)


def words_of(cells: Iterable[str]) -> list[str]:
    """The word in front of the number of each file name, as Abyssinian of ``Abyssinian_100``.

    Empty if a name has another form, or digits in its word, as those of patients have.
    """
    words = []
    for cell in cells:
        name = PurePosixPath(slashes(cell)).name
        found = _WORD_AND_NUMBER.fullmatch(PurePosixPath(name).stem if has_image_suffix(name) else name)
        if found is None:
            return []
        words.append(found[1])
    return words


def alike(path: str) -> str:
    """A text that is equal for paths that differ only in case, width, invisible characters, and blanks around names or
    several in place of one.
    """
    if not path.isascii():
        path = "".join(character for character in path if unicodedata.category(character) != "Cf")
        path = composed(half_width(path) or path)
    path = path.replace("\\", "/")
    if " " in path or "\t" in path:
        path = "/".join(re.sub(r"\s+", " ", re.sub(r"\s+(?=\.\w+$)", "", part.strip())) for part in path.split("/"))
    return path.strip().casefold()


def unpadded(stem: str) -> str:
    """The stem of a file name, or an id, without the leading zeros of its numbers, and without the ``.0`` of 7.0."""
    number = _NUMBER.fullmatch(stem)
    return _PADDING.sub("", number[1] if number else stem)


def differ_in_one_number(one: str, other: str) -> bool:
    """Whether two stems with one `unpadded` form have leading zeros in the same numbers, but for one."""
    pairs = zip(re.findall(r"\d+", one), re.findall(r"\d+", other), strict=False)
    return [mine != its for mine, its in pairs].count(True) <= 1


def half_width(cell: str) -> str | None:
    """An id with ASCII in place of full-width letters and digits; None without these."""
    wide = [character for character in cell if unicodedata.normalize("NFKC", character) != character]
    if not wide or not all("\uff00" <= character <= "\uffef" or character == "\u3000" for character in wide):
        return None
    return unicodedata.normalize("NFKC", cell)


def without_query(cell: str) -> str | None:
    """The path of a web address, or the file that Label Studio's address names in its query; None without a query."""
    front, mark, query = cell.strip().partition("?")
    front, fragment, _ = front.partition("#")
    if not (mark or fragment or re.search(r"%[0-9A-Fa-f]{2}", front)):
        return None
    named = parse_qs(query).get("d", [])
    return named[0] if named and front.endswith("/local-files/") else unquote(front)


def without_address(cell: str) -> str | None:
    """The file name before its web address, as in Airtable's ``1.jpg (https://...)``; None without an address."""
    found = _ATTACHED.fullmatch(cell.strip())
    return found[1] if found and has_image_suffix(found[1]) else None


def without_upload_prefix(cell: str) -> str | None:
    """A path without the eight hexadecimal digits before its file name; None if it has none."""
    folder, slash, name = slashes(cell).rpartition("/")
    found = _UPLOAD.fullmatch(name)
    return f"{folder}{slash}{found[1]}" if found and has_image_suffix(name) else None


def without_marks_of_text(cell: str) -> str | None:
    """An id without what spreadsheets write around text (``="7"``, ``'7``), and without quotation marks."""
    text = cell.strip()
    if found := _EXCEL_TEXT.fullmatch(text):
        return found[1].strip() or None
    if found := _QUOTED.fullmatch(text):
        return found[2].strip()
    return text[1:] if text.startswith("'") and len(text) > 1 else None


def without_commas(cell: str) -> str | None:
    """A whole number without commas between thousands (1,234), or without its decimal comma (7,0); else None."""
    text = cell.strip()
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    found = _DECIMAL_COMMA.fullmatch(text)
    return found[1] if found else None


def was_rounded(cell: str) -> bool:
    """Whether a spreadsheet has rounded a long number, as in ``1.23457E+12``: digits are lost."""
    return _ROUNDED.fullmatch(cell.strip()) is not None


REWRITES: dict[Callable[[str], str | None], str] = {
    without_marks_of_text: "{n} ids are read without the marks of a spreadsheet, such as {cell!r} for {path}",
    half_width: "{n} ids with full-width characters are read as ASCII, such as {cell!r} for {path}",
    without_commas: "{n} ids are read as whole numbers without a comma, such as {cell!r} for {path}",
    without_address: "{n} file names are read without the address behind them, such as {cell!r} for {path}",
    without_query: "{n} web addresses are read without their query, such as {cell!r} for {path}",
    without_upload_prefix: "{n} file names lack the prefix of Label Studio, such as {cell!r} for {path}",
}
"""Functions that return the id in another spelling (None: it has none), with the sentence that reports them."""
