"""A table of ids with the image names that another table gives for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.readers.columns.part_columns import choose_part_column
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.links.find_keys import Key
from trainer.data.readers.tables.links.keyed_table import KeyedTable
from trainer.data.readers.tables.part_tables import PartTable
from trainer.formats.delimited import Table


@dataclass(frozen=True, kw_only=True)
class LinkedTable:
    """A table of ids, with the image names of another table as a further column.

    first: index of the first row below the header.
    key, image: positions of the ids and of the image names.
    listing: the table that names the images.
    files: its cell that names the image of each id, also of ids that ``table`` lacks.
    problem: why the tables cannot be joined; None if they can.
    """

    table: Table
    first: int
    key: int
    image: int
    listing: Path
    files: Mapping[str, str]
    problem: DataError | None = None

    def checked(self) -> LinkedTable:
        """The table itself.

        Raises:
            DataError: the tables cannot be joined.
        """
        if self.problem is not None:
            raise self.problem
        return self

    def by_image(self) -> Table:
        """The table as in its file, but with the names of the images in place of the ids."""
        rows = [row[: self.image] for row in self.table.rows[: self.first]]
        for row in self.table.rows[self.first :]:
            rows.append((*row[: self.key], row[self.image], *row[self.key + 1 : self.image]))
        return dataclasses.replace(self.table, rows=tuple(rows))

    def paths(self, images: ImageFiles) -> dict[str, str]:
        """The path of the image of each id that is found."""
        found = {**ImageMatcher(images, "test").match(self.files.values()).paths}
        found.update(ImageMatcher(images, "train").match(self.files.values()).paths)
        return {key: found[name] for key, name in self.files.items() if name in found}

    def note(self) -> str:
        """What was joined, for the user."""
        return f"{self.listing.name} names the images of the ids in {self.table.path.name}"


@dataclass(frozen=True, kw_only=True)
class Links:
    """The joined tables of a data folder.

    tables: by the path of the table of ids.
    lists: the tables that only name images, and give no labels.
    describing: the joined tables that only describe the images of a table with labels.
    parts: the joined tables that divide the images into parts.
    groups: why the tables that name groups of images, or label them, give no labels of images.
    """

    tables: Mapping[Path, LinkedTable] = field(default_factory=dict)
    lists: Collection[Path] = ()
    describing: Collection[Path] = ()
    parts: Sequence[PartTable] = ()
    groups: Mapping[Path, DataError] = field(default_factory=dict)


def linked_table(
    listing: KeyedTable,
    table: KeyedTable,
    key: Key,
    files: Mapping[str, str],
    missing: Sequence[str],
    group: str | None,
) -> LinkedTable:
    """Join a table with one of image names.

    Args:
        files: the image name of each key, also of those that another table of image names has.
        missing: the keys of ``table`` that have none.
        group: name of the column of groups, which the table of image names may have.
    """
    assert listing.image is not None, "a table that lists images"
    columns = [listing.image, *_further(listing, table, key, group)]
    rows_of = {key.spelled(cell): row for cell, row in zip(listing.cells(key.listing), listing.rows, strict=True)}
    names = [_free_name(listing.names[column], table.names) for column in columns]
    rows = [(*row, *names) for row in table.table.rows[: table.first]]
    for cell, row in zip(table.cells(key.other), table.rows, strict=True):
        spelled = key.spelled(cell)
        found = rows_of.get(spelled)
        others = [found[column] if found else "" for column in columns[1:]]
        rows.append((*row, files.get(spelled, cell), *others))
    problem = None
    if missing:
        where, count = table.table.path.name, f"{len(missing)} id{'s' * (len(missing) > 1)}"
        problem = DataError(
            f"{where} labels {count} that {listing.table.path.name} lacks: {listed(missing, 5)}. Name the images "
            f"of these ids there, or remove the rows from {where}"
        )
    given = {cell.strip(): files[spelled] for cell in listing.cells(key.listing) if (spelled := key.spelled(cell))}
    return LinkedTable(
        table=dataclasses.replace(table.table, rows=tuple(rows)),
        first=table.first,
        key=key.other,
        image=table.table.width,
        listing=listing.table.path,
        files=given,
        problem=problem,
    )


def _further(listing: KeyedTable, table: KeyedTable, key: Key, group: str | None) -> list[int]:
    """The column of groups that the user names and the column of parts, where only the listing has them."""
    part, _ = choose_part_column(
        listing.table.path.name, listing.names, listing.rows, {listing.image, key.listing}, [], []
    )
    asked = listing.names.index(group) if group in listing.names else None
    return [c for c in dict.fromkeys((asked, part)) if c is not None and listing.names[c] not in table.names]


def _free_name(name: str, taken: Sequence[str]) -> str:
    return next(free for free in (name, f"image {name}", f"{name} of the image") if free not in taken)
