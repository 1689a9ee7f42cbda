"""Join a table that labels ids with the table that names the image file of each id, as DrivenData gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.choose_columns import PROBED_ROWS
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.part_columns import choose_part_column
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import DESCRIBES, is_named_training, is_named_validation, is_unlabelled
from trainer.data.readers.tables.group_labels import refuse_group_labels
from trainer.data.readers.tables.keyed_tables import Key, KeyedTable, find_keys, shortened
from trainer.data.readers.tables.part_tables import PartTable, part_table
from trainer.formats.delimited import Table, first_rows, read_table

_WIDE = 50  # columns of a table that may name images; a wider one holds pixels or one-hot labels
_ROUNDS = 3  # a table may lead to the images by two others


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
    """

    tables: Mapping[Path, LinkedTable] = field(default_factory=dict)
    lists: Collection[Path] = ()
    describing: Collection[Path] = ()
    parts: Sequence[PartTable] = ()


def link_tables(paths: Sequence[Path], matcher: ImageMatcher, options: DataOptions, sample: SampleHints) -> Links:
    """Join the tables that share a column of ids with a table of image names.

    Args:
        paths: the tables that may name or label training images.
        sample: what the sample submission says about the columns of labels.

    Raises:
        DataError: the ids of a table of labels have several images, as those of patients do; two tables or columns
            name different images for an id; or it is not clear which table gives the labels.
    """
    return _Linking(paths, matcher, options, sample).links()


class _Linking:
    def __init__(self, paths: Sequence[Path], matcher: ImageMatcher, options: DataOptions, sample: SampleHints) -> None:
        self._matcher, self._options, self._sample = matcher, options, sample
        trained = any(map(is_named_training, paths))
        kept = [path for path in dict.fromkeys(paths) if not (trained and is_named_validation(path))]
        self._paths = [path for path in kept if not is_unlabelled(path)]
        self._tables: dict[Path, KeyedTable] = {}
        self._unclear: list[KeyedTable] = []
        self._linked: dict[Path, LinkedTable] = {}
        self._sources: dict[Path, tuple[KeyedTable, Key]] = {}

    def links(self) -> Links:
        """The links, as `link_tables`."""
        if len(self._paths) < 2:
            return Links()
        heads = {path: rows for path in self._paths if len(rows := self._first_rows(path)) > 1}
        listings = [table for path in heads if (table := self._listing(path, heads[path])) is not None]
        # Numbers may be ids that another table gives to other images, so that they come last.
        self._join_all(heads, [table for table in listings if not table.numbers_images()])
        left = [table for table in listings if table.numbers_images() and table.table.path not in self._linked]
        self._join_all(heads, left)
        return self._chosen()

    def _join_all(self, heads: Mapping[Path, Sequence[Sequence[str]]], listings: Sequence[KeyedTable]) -> None:
        """Join all tables with those of the ``listings`` that name their images, then with the joined ones."""
        for _ in range(_ROUNDS):
            if listings or self._unclear:
                listings = [found for path in heads if (found := self._join(path, heads[path], listings)) is not None]

    def _first_rows(self, path: Path) -> list[Sequence[str]]:
        try:
            rows = first_rows(path, PROBED_ROWS, encoding=self._options.encoding)
        except DataError:  # the choice of the table of labels reports it where it matters
            return []
        return [row for row in rows if len(row) > 1]

    def _listing(self, path: Path, head: Sequence[Sequence[str]]) -> KeyedTable | None:
        """A table that names images beside other cells; None for another one."""
        if len(head[0]) > _WIDE:
            return None
        found = any(
            self._matcher.match(row[column] for row in head if column < len(row)).paths
            for column in range(len(head[0]))
        )
        table = self._read(path) if found else None
        if table is not None and table.problem is not None:
            self._unclear.append(table)
        return table if table is not None and table.lists_images else None

    def _read(self, path: Path) -> KeyedTable | None:
        if path not in self._tables:
            try:
                table = read_table(path, encoding=self._options.encoding)
            except DataError:
                return None
            self._tables[path] = KeyedTable(table, self._matcher)
        return self._tables[path]

    def _join(self, path: Path, head: Sequence[Sequence[str]], listings: Sequence[KeyedTable]) -> KeyedTable | None:
        """Join a table with those of the ``listings`` that name its images; None if there are none."""
        if path in self._linked or (path.suffix.lower() == ".txt" and not is_named_training(path)):
            return None
        others = [listing for listing in listings if listing.table.path != path]
        if not any(_shares_cells(head, listing) for listing in (*others, *self._unclear)):
            return None
        table = self._read(path)
        if table is None:
            return None
        keys = [(listing, key) for listing in others for key in self._keys(listing, table)]
        for listing, key in keys:
            if key.repeats():
                refuse_group_labels(listing, table, key, self._options, self._sample)
        keys = [(listing, key) for listing, key in keys if not key.repeats()]
        sure = [(listing, key) for listing, key in keys if key.sure]
        if not sure:
            for listing, key in keys:
                self._refuse_numbers(listing, table, key)
            for listing in self._unclear:
                self._refuse_unclear(listing, table)
            return None
        self._refuse_contradiction(table, sure)
        listing, key = max(sure, key=lambda found: len(found[1].files))
        files = {cell: images[0] for _, other in sure for cell, images in other.files.items()}
        cells = table.cells(key.other)
        missing = list(dict.fromkeys(cell for cell in cells if key.spelled(cell) not in files))
        if missing and self._agree(cells, files, key):
            return None  # the ids are names of files, and the other table describes some of them
        self._linked[path] = self._linked_table(listing, table, key, files, missing)
        self._sources[path] = (listing, key)
        return KeyedTable(self._linked[path].table, self._matcher, self._linked[path].image)

    def _keys(self, listing: KeyedTable, table: KeyedTable) -> list[Key]:
        keys = [key for key in find_keys(listing, table) if table.names_images_by(key.other)]
        asked = [key for key in keys if table.names[key.other] == self._options.id_column]
        return asked or keys

    def _refuse_contradiction(self, table: KeyedTable, keys: Sequence[tuple[KeyedTable, Key]]) -> None:
        """Raise a DataError if two columns of ids, or two tables of image names, name different images."""
        (first, key), *others = keys
        for listing, other in others:
            for one, two in zip(table.cells(key.other), table.cells(other.other), strict=True):
                images = key.files.get(key.spelled(one)), other.files.get(other.spelled(two))
                if None in images or images[0] == images[1] or self._one_file(images[0][0], images[1][0]):  # type: ignore[index]
                    continue
                where = table.table.path.name
                if key.other != other.other:
                    raise DataError(
                        f"{where}: both {table.names[key.other]!r} and {table.names[other.other]!r} may be the ids of "
                        f"{listing.table.path.name}, and name different images. Choose one with --id-column NAME "
                        "(data.id_column)"
                    )
                raise DataError(
                    f"{first.table.path.name} and {listing.table.path.name} name different images for the id {one!r} "
                    f"of {where}: leave only one of them in the folder"
                )

    def _one_file(self, one: str, two: str) -> bool:
        paths = self._matcher.match([one, two]).paths
        return paths.get(one) is not None and paths.get(one) == paths.get(two)

    def _agree(self, cells: Sequence[str], files: Mapping[str, str], key: Key) -> bool:
        """Whether ids are names of images, and those of the other table where it names some."""
        own = self._matcher.match(cells).paths
        named = {cell: files[key.spelled(cell)] for cell in own if key.spelled(cell) in files}
        theirs = self._matcher.match(named.values()).paths
        return bool(own) and all(theirs.get(file, own[cell]) == own[cell] for cell, file in named.items())

    def _refuse_numbers(self, listing: KeyedTable, table: KeyedTable, key: Key) -> None:
        """Raise a DataError if numbers may be ids of other images, though their columns have different names."""
        files = {cell: images[0] for cell, images in key.files.items()}
        cells, where = table.cells(key.other), table.table.path.name
        chosen = self._options.table is not None or listing.owns_labels(key.listing, self._sample)
        if chosen or not table.claims_labels(key.other, self._sample) or self._agree(cells, files, key):
            return
        name, ours = table.names[key.other], listing.names[key.listing]
        raise DataError(
            f"{where} labels the numbers in {name!r}, which may be those in {ours!r} of {listing.table.path.name}, "
            f"such as {files[key.spelled(cells[0])]!r} for {cells[0]!r}. If they are, give both columns the name 'id'; "
            f"if not, add --table {where} (data.table)"
        )

    def _refuse_unclear(self, listing: KeyedTable, table: KeyedTable) -> None:
        """Raise a DataError if a table of image names has two columns of numbers that may name the images."""
        where, source = table.table.path, listing.table.path
        if self._options.table is not None or listing.problem is None or where == source:
            return
        shared = [name for name in listing.names if name in table.names and table.header]
        for name in shared:
            ours, theirs = (set(found.cells(found.names.index(name))) for found in (listing, table))
            column = table.names.index(name)
            if len(ours & theirs) * 2 < len(theirs) or not table.claims_labels(column, self._sample):
                continue
            if len(listing.names) == 2 and not listing.owns_labels(listing.names.index(name), self._sample):
                other = next(given for given in listing.names if given != name)
                if not self._matcher.match(listing.cells(listing.names.index(other))).paths:
                    continue  # former names of the files
                raise DataError(
                    f"{source.name} may name the image of each {name!r} of {where.name} in {other!r}, but both columns "
                    f"name images. If it does, write file names with their extension in {other!r}; if {name!r} names "
                    f"the images, add --table {where.name} (data.table)"
                )

    def _linked_table(
        self, listing: KeyedTable, table: KeyedTable, key: Key, files: Mapping[str, str], missing: Sequence[str]
    ) -> LinkedTable:
        assert listing.image is not None, "a table that lists images"
        columns = [listing.image, *self._further(listing, table, key)]
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

    def _further(self, listing: KeyedTable, table: KeyedTable, key: Key) -> list[int]:
        """The column of groups that the user names and the column of parts, where only the listing has them."""
        part, _ = choose_part_column(
            listing.table.path.name, listing.names, listing.rows, {listing.image, key.listing}, []
        )
        group = self._options.group_column
        asked = listing.names.index(group) if group in listing.names else None
        return [c for c in dict.fromkeys((asked, part)) if c is not None and listing.names[c] not in table.names]

    def _chosen(self) -> Links:
        """The links, with what each table is for.

        Raises:
            DataError: a table of image names and a joined one could both give the labels.
        """
        parts = {path: found for path, link in self._linked.items() if (found := self._parts(link)) is not None}
        lists: dict[Path, None] = {}
        describing: list[Path] = []
        for path in self._linked.keys() - parts.keys():
            listing, key = self._sources[path]
            table, source = self._tables[path], listing.table.path
            asked = self._options.label_column
            labels = table.label_columns([key.other])
            claims = table.claims_labels(key.other, self._sample)
            if asked is not None and asked in listing.names and asked not in table.names:
                describing.append(path)
            elif listing.owns_labels(key.listing, self._sample):
                describing += [] if claims else [path]
            elif claims:
                lists[source] = None
            elif not labels or (DESCRIBES.search(path.stem.lower()) and not DESCRIBES.search(source.stem.lower())):
                describing.append(path)
            elif listing.label_columns([key.listing]) and self._options.table is None and asked is None:
                raise DataError(
                    f"{source.name} names the images, and {path.name} has further values for its ids: each of these "
                    "could give the labels. Choose with --table NAME (data.table) and --label-column NAME "
                    "(data.label_column)"
                )
            else:
                lists[source] = None
        return Links(tables=self._linked, lists=tuple(lists), describing=tuple(describing), parts=[*parts.values()])

    def _parts(self, link: LinkedTable) -> PartTable | None:
        return part_table(link.by_image(), self._matcher)


def _shares_cells(head: Sequence[Sequence[str]], listing: KeyedTable) -> bool:
    """Whether the first rows of a table share a cell with a table of image names."""
    known = listing.known_cells()
    return any(shortened(composed(cell.strip())) in known for row in head for cell in row if cell.strip())


def _free_name(name: str, taken: Sequence[str]) -> str:
    return next(free for free in (name, f"image {name}", f"{name} of the image") if free not in taken)
