"""Refuse to read ids as file names while another file gives them other images, as a log of renamed files does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.doubts.other_tables import files_in
from trainer.data.readers.matching.id_spellings import is_image_name
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.links.keyed_table import shortened
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import SUFFIXES, first_rows, read_table
from trainer.inference.printable import printable

_MOST_BYTES = 2**24
_NEARLY_ALL = 0.9  # share of the ids that another file has to name
_HALF = 0.5  # share of its images that the table has to label, so that they are no masks or other versions


def refuse_other_names(folder: Path, table: TrainingTable, matcher: ImageMatcher, encoding: str | None) -> None:
    """Refuse a table whose ids name files, if another file pairs them with other ones of the labelled images.

    The pairs are two columns, or an object of JSON, in a file in the data ``folder`` or beside the table.

    Raises:
        DataError: there is such a file.
    """
    place = table.table.path.relative_to(folder).as_posix()
    own = {_key(cell): path for cell, path in matcher.match(table.image_cells()).paths.items()}
    labelled = set(own.values())
    beside = [path for where in dict.fromkeys((folder, table.table.path.parent)) for path in files_in(where)]
    for path in beside:
        if path == table.table.path or path.suffix.lower() not in (*SUFFIXES, ".json"):
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
    """The image of each id by a file, in each direction in which one of its two columns may be the images."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_bytes())
            rows: list[Sequence[object]] = list(content.items()) if isinstance(content, dict) else []
        else:
            if max(map(len, first_rows(path, 2, encoding=encoding)), default=0) > 2:
                return
            cells = read_table(path, encoding=encoding).rows
            rows = [row if len(row) > 1 else row[0].split(None, 1) for row in cells]
    except (DataError, OSError, ValueError, RecursionError):  # no such file; others report it where it matters
        return
    if not rows or any(len(row) != 2 or not isinstance(row[1], str) for row in rows):
        return
    pairs = [(str(one).strip(), str(two).strip()) for one, two in rows]
    for key, image in ((0, 1), (1, 0)):
        named = {_key(pair[key]): pair[image] for pair in pairs}
        if len(named) == len(pairs) and all(is_image_name(pair[image]) for pair in pairs[1:]):
            yield named
