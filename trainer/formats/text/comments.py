"""Comment lines at the beginning of a text table, one of which may name the columns."""

from __future__ import annotations

import re

_QUALIFIERS = ("id", "no", "name", "number", "class")  # second words of column names: BREED ID


def without_comments(text: str) -> str:
    """The text of a table without its first lines that begin with ``#``; blank lines take their places.

    In a table separated by blanks, the line that names as many columns as there are stays, without its ``#``. A single
    line stays in any other table, because ``#`` may be the name of its first column.
    """
    lines = text.splitlines(keepends=True)
    count = next((i for i, line in enumerate(lines) if not line.lstrip().startswith("#")), len(lines))
    if not count or count == len(lines):
        return text
    first = lines[count]
    by_blanks = not any(mark in first for mark in ",;\t|")
    if count == 1 and not by_blanks:
        return text
    kept = [re.sub(r"[^\r\n]", "", line) for line in lines[:count]]
    header = _header(lines[:count], len(first.split())) if by_blanks else None
    if header is not None:
        place, names = header
        kept[place] = " ".join(f'"{name}"' if " " in name else name for name in names) + kept[place]
    return "".join((*kept, *lines[count:]))


def _header(comments: list[str], width: int) -> tuple[int, list[str]] | None:
    """The line that names ``width`` columns, and its names; None without one, or in a table of one column."""
    for place, line in enumerate(comments):
        names = line.lstrip().lstrip("#").split()
        if len(names) == width + 1:
            second = next((i for i in range(1, len(names)) if names[i].lower() in _QUALIFIERS), len(names))
            names[second - 1 : second + 1] = [" ".join(names[second - 1 : second + 1])]
        if len(names) == width > 1:
            return place, names
    return None
