"""Tables beside the training table that divide its images into parts, whatever else they say: ``metadata.csv``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.columns.header import column_names, has_header
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.columns.part_columns import IF_OTHER, choose_part_column
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.part_tables import PartTable
from trainer.data.readers.tables.reading.table_files import first_rows, read_table
from trainer.formats.delimited import Table
from trainer.formats.labels import is_number
from trainer.formats.part_words import Part
from trainer.formats.parts import is_part_column, parts_of_flag
from trainer.inference.printable import printable

_MOST_COLUMNS = 60  # a wider table holds pixels or features
_PROBED_ROWS = 200
_LEAST_SHARE = 0.5  # of the images, or of the groups, that another table has to name


@dataclass(frozen=True, kw_only=True, eq=False)
class Divided:
    """The images to divide, and what else tables may call them.

    images: path of each image by the cell that names it.
    groups: other columns of the training table, such as that of patients: the value of each image cell by the name of
        the column.
    """

    images: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def cells_of(self) -> Mapping[str, Sequence[str]]:
        """The cells that name each image, by its path."""
        found: dict[str, list[str]] = {}
        for cell, path in self.images.items():
            found.setdefault(path, []).append(cell)
        return found

    @cached_property
    def cells_of_groups(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The image cells of each value of a column, by the column's plain name."""
        found: dict[str, dict[str, list[str]]] = {}
        for name, value_of in self.groups.items():
            own = found.setdefault(plain_name(name), {})
            for cell, value in value_of.items():
                own.setdefault(value, []).append(cell)
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class SideTable:
    """A table beside the training table whose rows are about images, or about groups of them.

    rows: without the header.
    key: the column that names images or groups.
    images: the image cells of the training table by the value of ``key``.
    """

    path: Path
    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    key: int
    images: Mapping[str, Sequence[str]]
    has_header: bool

    def division(self) -> PartTable | None:
        """The division of the images by one of its columns; None without one.

        Raises:
            DataError: a column seems to divide them, but holds values whose part is unknown.
        """
        column, parts = self._part_column()
        if column is None or parts is None:
            return None
        of_images: dict[str, Part] = {}
        for row in self.rows:
            if (part := parts.get(row[column].strip().lower())) is not None:
                of_images |= dict.fromkeys(self.images.get(row[self.key].strip(), ()), part)
        if len(set(of_images.values())) < 2:
            return None
        numbers = {value: part for value, part in parts.items() if is_number(value)}
        return PartTable(path=self.path, parts=of_images, numbers=numbers)

    def _part_column(self) -> tuple[int | None, Mapping[str, Part] | None]:
        """The column of parts, and the part of each of its values in lower case; (None, None) without one."""
        others = [name for column, name in enumerate(self.names) if column != self.key]
        if not self.has_header and (len(others) > 1 or not is_part_column(plain_name(self.path.stem))):
            return None, None  # without names, only the file's own name can say what a column means
        try:
            return choose_part_column(self.path.name, self.names, self.rows, [self.key], [], [])
        except DataError as error:
            if not any(map(_is_called_after_parts, others)):
                return None, None  # a column of another name, as in a table of facts, is no reason to refuse the data
            advice = f"If {printable(self.path.name)} does not divide the images, move it out of the data folder"
            raise DataError([problem.removesuffix(IF_OTHER) for problem in error.problems], advice) from error


def side_tables(
    paths: Iterable[Path],
    divided: Divided,
    matcher: ImageMatcher,
    encoding: str | None,
    read: Callable[[Path], Table] | None = None,
) -> list[SideTable]:
    """The tables that name the images, or groups of them as a column of the training table does.

    Args:
        paths: the other tables.
        read: reads a table; None: `read_table`.
    """
    found = []
    for path in paths:
        try:
            if not _may_be_of_images(first_rows(path, _PROBED_ROWS, encoding=encoding), divided, matcher):
                continue
            table = read_table(path, encoding=encoding) if read is None else read(path)
        except DataError:  # no table; the search for labels reports it where it matters
            continue
        header = has_header(table, matcher)
        rows = table.rows[1:] if header else table.rows
        names = column_names(table, header) if header else (path.stem,) * table.width
        if (keyed := _key(names, rows, divided, matcher)) is not None:
            key, images = keyed
            found.append(SideTable(path=path, names=names, rows=rows, key=key, images=images, has_header=header))
    return found


def divisions_by(tables: Iterable[SideTable]) -> list[PartTable]:
    """Their divisions of the images, one entry for each different one.

    Raises:
        DataError: a table seems to divide the images, but holds values whose part is unknown.
    """
    found: list[PartTable] = []
    for table in tables:
        division = table.division()
        if division is not None and all(division.parts != other.parts for other in found):
            found.append(division)
    return found


def _may_be_of_images(rows: Sequence[Sequence[str]], divided: Divided, matcher: ImageMatcher) -> bool:
    """Whether the first rows of a table name an image, or its header a column of groups."""
    if not rows or not 1 < len(rows[0]) <= _MOST_COLUMNS:
        return False
    if not divided.cells_of_groups.keys().isdisjoint(map(plain_name, rows[0])):
        return True
    return any(matcher.match(row[at] for row in rows if at < len(row)).paths for at in range(len(rows[0])))


def _key(
    names: Sequence[str], rows: Sequence[Sequence[str]], divided: Divided, matcher: ImageMatcher
) -> tuple[int, Mapping[str, Sequence[str]]] | None:
    """The column that names the images or groups of them, and the image cells of each of its values; None without."""
    best: tuple[int, Mapping[str, Sequence[str]]] | None = None
    for column in range(len(names)):
        probed = matcher.match(row[column] for row in rows[:_PROBED_ROWS]).paths
        if divided.cells_of.keys().isdisjoint(probed.values()):
            continue
        paths = matcher.match(row[column] for row in rows).paths
        named = {cell.strip(): cells for cell, path in paths.items() if (cells := divided.cells_of.get(path))}
        if len(named) >= _LEAST_SHARE * len(divided.cells_of) and (best is None or len(named) > len(best[1])):
            best = column, named
    return best or _key_of_groups(names, rows, divided)


def _key_of_groups(
    names: Sequence[str], rows: Sequence[Sequence[str]], divided: Divided
) -> tuple[int, Mapping[str, Sequence[str]]] | None:
    """The column with a row for each group of images, by a column of the training table with its name."""
    for column, name in enumerate(names):
        groups = divided.cells_of_groups.get(plain_name(name))
        if groups is None:
            continue
        values = Counter(row[column].strip() for row in rows)
        once = max(values.values(), default=0) == 1
        if once and len(groups.keys() & values.keys()) >= _LEAST_SHARE * len(groups):
            return column, groups
    return None


def _is_called_after_parts(name: str) -> bool:
    plain = plain_name(name)
    return is_part_column(plain) or parts_of_flag(plain) is not None
