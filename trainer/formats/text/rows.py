"""Rows of delimited text: quoted fields, blanks beside them, and the delimiter found by itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainer.formats.text.blank_labels import split_at_label

DELIMITERS = (",", "\t", ";", "|", " ")
"""Delimiters that are tried, the usual ones first. A blank stands for any run of blanks and tabs."""
SNIFFED_ROWS = 50  # rows from which the delimiter is detected
# Blanks of any kind beside a quoted field; csv skips only U+0020, and only before it.
_BLANK = r"(?:(?!{delimiter})[^\S\r\n]|[\u200b\ufeff])+"
_BLANK_BEFORE_QUOTE = rf'(^|{{delimiter}}){_BLANK}(?=")'
_BLANK_AFTER_QUOTE = rf'"{_BLANK}(?={{delimiter}}|[\r\n]|\Z)'
_FIELD = re.compile(r'"((?:[^"]|"")*)"(?![^ \t])|([^ \t]+)')  # of a row whose delimiter is a blank
_IMAGE_AT_END = re.compile(r"\.(?:jpe?g|png|bmp|gif|tiff?|webp)$", re.IGNORECASE)


def rows_of(text: str, delimiter: str) -> Iterator[list[str]]:
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


def sniff(path: Path, text: str) -> str:
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
