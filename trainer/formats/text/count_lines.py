"""Text tables that begin with their number of rows, or whose header leaves out the first column, as CelebA's do."""

from __future__ import annotations

import re
from itertools import islice

from trainer.formats.labels import is_number

_PROBED_LINES = 50
_NAMES_IMAGES = re.compile(r"(?:.*[\W_])?(?:id|ids|image|images|img|file|filename|name|path)", re.IGNORECASE)
_FIELDS = re.compile(r'"(?:[^"]|"")*"|\S+')  # between blanks; blanks within quotation marks separate nothing
_MARKS = (",", "\t", ";", "|")


def without_count(text: str) -> str:
    """The text of a table without a first line that holds its number of rows alone; a blank line takes its place.

    In a table separated by blanks whose header has one cell fewer than every row, the first column gets an empty name,
    unless the header names a column of images and the table does not begin with its number of rows.
    """
    lines = list(islice(re.finditer(r"[^\r\n]*(?:\r\n|\r|\n|\Z)", text), _PROBED_LINES + 2))
    cells = [_cells(line[0]) for line in lines if line[0]]
    counted = len(cells) > 2 and len(cells[0]) == 1 and cells[0][0].isdecimal() and cells[0][0].isascii()
    if counted:
        cells = cells[1:]
    widths = {len(row) for row in cells[1:] if row}
    if len(cells) < 2 or len(widths) != 1 or (width := widths.pop()) < 2 or len(cells[0]) not in (width, width - 1):
        return text
    start = lines[1].start() if counted else 0
    blank = re.sub(r"[^\r\n]", "", text[:start])
    by_blanks = not any(mark in line[0] for line in lines for mark in _MARKS)
    return blank + ('"" ' if by_blanks and _lacks_first_name(cells, width, counted=counted) else "") + text[start:]


def _lacks_first_name(cells: list[list[str]], width: int, *, counted: bool) -> bool:
    header = cells[0]
    if len(header) != width - 1 or any(map(is_number, header)):
        return False
    return counted or not any(map(_NAMES_IMAGES.fullmatch, header))


def _cells(line: str) -> list[str]:
    mark = next((mark for mark in _MARKS if mark in line), None)
    if mark is None:
        return _FIELDS.findall(line)
    return line.strip().split(mark) if line.strip() else []
