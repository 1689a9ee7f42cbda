"""Refuse to read ids as file names while another file gives them other images, as a log of renamed files does."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.doubts.other_tables import files_in
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.links.keyed_table import shortened
from trainer.data.readers.tables.reading.table_files import first_rows, is_table, read_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import read_lines
from trainer.inference.printable import printable

_MOST_BYTES = 2**24
_MOST_COLUMNS = 6
_LONGEST = 1000
"""Characters of a line that may rename a file. In a longer one, the search for the two names could take minutes."""
_TEXTS = (".log", ".sh", ".bat", ".cmd", ".ps1", ".yaml", ".yml")
_RENAMED = re.compile(
    r"(?:(?:git )?(?:mv|ren|rename|move|cp|copy)\s+)?[\"']?(?P<old>[^\s\"']+?)[\"']?\s*(?:->|=>|\u2192|:|\s)\s*"
    r"[\"']?(?P<new>[^\s\"']+)[\"']?,?",
    re.IGNORECASE,
)
"""A line that says how a file was renamed."""
_NEARLY_ALL = 0.9  # share of the ids that another file has to name
_HALF = 0.5  # share of its images that the table has to label, so that they are no masks or other versions


def refuse_other_names(folder: Path, table: TrainingTable, matcher: ImageMatcher, encoding: str | None) -> None:
    """Refuse a table whose ids name files, if another file pairs them with other ones of the labelled images.

    The pairs are two columns, an object of JSON, or lines such as ``1.jpg -> 12.jpg`` and ``mv 1.jpg 12.jpg``, in a
    file in the data ``folder`` or beside the table.

    Raises:
        DataError: there is such a file.
    """
    place = table.table.path.relative_to(folder).as_posix()
    own = {_key(cell): path for cell, path in table.paths.items()}
    labelled = set(own.values())
    beside = [path for where in dict.fromkeys((folder, table.table.path.parent)) for path in files_in(where)]
    for path in beside:
        if path == table.table.path or not (is_table(path) or path.suffix.lower() in (".json", *_TEXTS)):
            continue
        for named in _pairs(path, encoding):
            shared = [cell for cell in own if cell in named]
            if not shared or len(shared) < _NEARLY_ALL * len(own):
                continue
            paths = matcher.match(named[cell] for cell in shared).paths
            if len(labelled.intersection(paths.values())) < _HALF * len(shared):
                continue
            differing = [cell for cell in shared if paths.get(named[cell], own[cell]) != own[cell]]
            if differing:
                raise DataError(
                    f"{place} labels {differing[0]!r}, which is {printable(own[differing[0]])} by its name, and "
                    f"{printable(paths[named[differing[0]]])} by {printable(path.name)}. Write the present file names "
                    f"into the table, or read its ids as file names with --table {shlex.quote(place)} (data.table)"
                )


def _key(cell: str) -> str:
    """An id without the extension of an image file, leading zeros and case."""
    return shortened(cell.rpartition(".")[0] if is_image_name(cell) else cell)


def _pairs(path: Path, encoding: str | None) -> Iterator[Mapping[str, str]]:
    """The image of each id by a file, for each two of its columns of which one may be the images."""
    try:
        rows = _rows(path, encoding)
    except (DataError, OSError, ValueError, RecursionError):  # no such file; others report it where it matters
        return
    width = len(rows[0]) if rows else 0
    if not 1 < width <= _MOST_COLUMNS or any(len(row) != width or not isinstance(row[1], str) for row in rows):
        return
    cells = [[str(cell).strip() for cell in row] for row in rows]
    images = [column for column in range(width) if all(is_image_name(row[column]) for row in cells[1:])]
    for key, image in itertools.product(range(width), images):
        named = {_key(row[key]): row[image] for row in cells}
        if key != image and len(named) == len(cells):
            yield named


def _rows(path: Path, encoding: str | None) -> Sequence[Sequence[object]]:
    """The rows of a table, the entries of an object of JSON, or the lines of a text that rename a file each.

    Raises:
        DataError, OSError, ValueError, RecursionError: the file cannot be read as what it is by its extension.
    """
    if path.stat().st_size > _MOST_BYTES:
        return []
    if path.suffix.lower() == ".json" and not is_table(path):
        content = json.loads(path.read_bytes())
        return list(content.items()) if isinstance(content, dict) else []
    if path.suffix.lower() in (*_TEXTS, ".txt"):
        lines = [line.strip() for line in read_lines(path, encoding) if line.strip()]
        found = [named.groups() for line in lines if len(line) <= _LONGEST and (named := _RENAMED.fullmatch(line))]
        if len(found) > 1 and len(found) >= _NEARLY_ALL * len(lines):  # others are comments and the like
            return found
        if path.suffix.lower() != ".txt":
            return []
    if max(map(len, first_rows(path, 2, encoding=encoding)), default=0) > _MOST_COLUMNS:
        return []
    cells = read_table(path, encoding=encoding).rows
    return [row if len(row) > 1 else row[0].split(None, 1) for row in cells]
