"""The header of a table: whether its first row is one, and the names of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import PurePosixPath

from trainer.common.errors import DataError
from trainer.data.readers.columns.image_column import ID_NAMES, PROBED_ROWS
from trainer.data.readers.columns.label_names import LABEL_NAMES, plain_name
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.formats.delimited import Table
from trainer.formats.labels import unquoted

_TITLE_ROWS = 6  # rows in which a header is looked for below a title


def has_header(table: Table, matcher: ImageMatcher) -> bool:
    """Whether the first row is a header: it holds a usual column name, or none of its cells names an image.

    A first row whose cells have the form of the cells below, such as numbers, is none. A file of JSON says it itself.
    """
    if table.header is not None:
        return table.header
    first = [cell.strip() for cell in table.rows[0]]
    below = [{row[column].strip() for row in table.rows[1:]} for column in range(table.width)]
    if any(
        plain_name(unquoted(cell) or cell) in (*ID_NAMES, *LABEL_NAMES) and cell not in cells
        for cell, cells in zip(first, below, strict=True)
    ):
        return True
    if any(PurePosixPath(cell).suffix.lower() in IMAGE_SUFFIXES for cell in first):
        return False
    probed = [[row[column] for row in table.rows[:PROBED_ROWS]] for column in range(table.width)]
    if any(matcher.match(cells).paths.get(cells[0]) for cells in probed):
        return False
    return not _continues(table, first, below)


def refuse_title(table: Table) -> None:
    """Check that no row above the header is a title.

    Raises:
        DataError: one of the next rows holds the usual names of the columns of ids and labels, the first row neither;
            or the first row fills a single cell, and the first one that fills several looks like a header.
    """
    below_title = _header_below_title(table)
    for index, row in enumerate(table.rows[:_TITLE_ROWS]):
        known = [any(plain_name(cell) in usual for cell in row) for usual in (ID_NAMES, LABEL_NAMES)]
        if index and (all(known) or index == below_title):
            title = next(cell for cell in table.rows[0] if cell.strip())
            raise DataError(
                f"{table.row_name(index)} looks like the header, but {title[:60]!r} stands above it: remove the rows "
                "above the header"
            )
        if any(known):
            return


def _header_below_title(table: Table) -> int | None:
    """The index of the first row that fills several cells, below others that fill one each, if it may be a header.

    Its cells are words that no row below has in the same column.
    """
    filled = [[column for column, cell in enumerate(row) if cell.strip()] for row in table.rows[:_TITLE_ROWS]]
    index = next((index for index, columns in enumerate(filled) if len(columns) > 1), 0)
    rows = table.rows[index + 1 :]
    if not index or len(rows) <= index:
        return None
    words = all(
        not any(map(str.isdigit, table.rows[index][column]))
        and PurePosixPath(table.rows[index][column].strip()).suffix.lower() not in IMAGE_SUFFIXES
        and table.rows[index][column] not in {row[column] for row in rows}
        for column in filled[index]
    )
    titles = {cell.strip() for row in table.rows[:index] for cell in row}
    of_images = any(PurePosixPath(cell).suffix.lower() in IMAGE_SUFFIXES for cell in titles)
    return index if words and not of_images else None


def _continues(table: Table, first: Sequence[str], below: Sequence[set[str]]) -> bool:
    """Whether the first row looks like the rows below: one cell is a label of several rows, another one an id.

    An id is a number, or as long as all those below.
    """
    columns = list(zip(first, below, strict=True))
    if any(cell.isdecimal() and all(map(str.isdecimal, cells)) for cell, cells in columns):
        return any(cell in cells and len(cells) > 1 for cell, cells in columns)
    rows = len(table.rows) - 1
    is_label = any(cell in cells and 1 < len(cells) <= rows // 2 for cell, cells in columns)
    return is_label and any(
        cells and len(cells) == rows and {*map(len, cells)} == {len(cell)} for cell, cells in columns
    )


def column_names(table: Table, header: bool) -> tuple[str, ...]:
    """The header's cells, with ``Unnamed: N`` for an empty one; ``1``, ``2``, ... for a table without a header.

    Quotation marks around a name are no part of it, unless two columns would have one name.
    """
    if not header:
        return tuple(map(str, range(1, table.width + 1)))
    cells = [composed(cell.strip()) for cell in table.rows[0]]
    bare = [unquoted(cell) or cell for cell in cells]
    if len(set(bare)) == len(set(cells)):
        cells = bare
    return tuple(cell or _unnamed(column, cells) for column, cell in enumerate(cells))


def _unnamed(column: int, cells: Sequence[str]) -> str:
    """The name of a column without one, which no column has: pandas saves its own ``Unnamed: 0`` as a name."""
    name = f"Unnamed: {column}"
    return next(free for free in chain([name], (f"{name}.{i}" for i in count(1))) if free not in cells)
