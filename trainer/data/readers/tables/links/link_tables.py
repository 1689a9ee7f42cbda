"""Join the tables of a data folder that label ids with those that name the image of each id, as in DrivenData's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.readers.columns.image_column import PROBED_ROWS
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.tables.find_tables import DESCRIBES, is_named_training, is_named_validation, is_unlabelled
from trainer.data.readers.tables.links.doubtful_keys import (
    are_image_names,
    refuse_contradiction,
    refuse_foreign_keys,
    refuse_numbers,
    refuse_unclear,
)
from trainer.data.readers.tables.links.find_keys import Key, find_keys, rival_keys
from trainer.data.readers.tables.links.group_labels import group_problem
from trainer.data.readers.tables.links.keyed_table import KeyedTable, shortened
from trainer.data.readers.tables.links.linked_table import LinkedTable, Links, linked_table
from trainer.data.readers.tables.part_tables import part_table
from trainer.data.readers.tables.reading.table_files import first_rows, read_table

_WIDE = 50  # columns of a table that may name images; a wider one holds pixels or one-hot labels
_ROUNDS = 3  # a table may lead to the images by two others


def link_tables(
    paths: Sequence[Path],
    matcher: ImageMatcher,
    options: DataOptions,
    sample: SampleHints,
    named: Path | None = None,
) -> Links:
    """Join the tables that share a column of ids with a table of image names.

    Args:
        paths: the tables that may name or label training images.
        sample: what the sample submission says about the columns of labels.
        named: the table that the user has named, whose labels alone count then.

    Raises:
        DataError: the ids of the named table have several images, as those of patients do; two tables or columns
            name different images for an id; or it is not clear which table gives the labels.
    """
    return _Linking(paths, matcher, options, sample, named).links()


class _Linking:
    def __init__(
        self,
        paths: Sequence[Path],
        matcher: ImageMatcher,
        options: DataOptions,
        sample: SampleHints,
        named: Path | None,
    ) -> None:
        self._matcher, self._options, self._sample, self._named = matcher, options, sample, named
        trained = any(map(is_named_training, paths))
        kept = [path for path in dict.fromkeys(paths) if not (trained and is_named_validation(path))]
        self._paths = [path for path in kept if not is_unlabelled(path)]
        self._tables: dict[Path, KeyedTable] = {}
        self._unclear: list[KeyedTable] = []
        self._linked: dict[Path, LinkedTable] = {}
        self._groups: dict[Path, DataError] = {}
        self._sources: dict[Path, list[tuple[KeyedTable, Key]]] = {}

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
        if path in self._linked:
            return None
        others = [listing for listing in listings if listing.table.path != path]
        if not any(_shares_cells(head, listing) for listing in (*others, *self._unclear)):
            return None
        table = self._read(path)
        if table is None or (path.suffix.lower() == ".txt" and not (is_named_training(path) or _says_labels(table))):
            return None
        keys = [(listing, key) for listing in others for key in self._keys(listing, table)]
        for listing, key in keys:
            problem = group_problem(listing, table, key, self._options, self._sample) if key.repeats() else None
            if problem is not None and self._named == path:
                raise problem
            if problem is not None:
                self._groups |= {listing.table.path: problem, path: problem}
        keys = [(listing, key) for listing, key in keys if not key.repeats()]
        sure = [(listing, key) for listing, key in keys if key.sure]
        if not sure and self._named is not None:
            return None
        if not sure:
            for listing, key in keys:
                refuse_numbers(listing, table, key, self._matcher, self._sample)
            for listing in self._unclear:
                refuse_unclear(listing, table, self._matcher, self._sample)
            return None
        if self._named in (None, path):
            rivals = [] if self._asked(table) else [(one, r) for one, key in sure for r in rival_keys(one, table, key)]
            refuse_contradiction(table, [*sure, *rivals], self._matcher)
        listing, key = max(sure, key=lambda found: len(found[1].files))
        if self._options.id_column is None:
            refuse_foreign_keys(listing, table, key)
        files = {cell: images[0] for _, other in sure for cell, images in other.files.items()}
        cells = table.cells(key.other)
        missing = list(dict.fromkeys(cell for cell in cells if key.spelled(cell) not in files))
        if missing and are_image_names(cells, files, key, self._matcher):
            return None  # the ids are names of files, and the other table describes some of them
        self._linked[path] = linked_table(listing, table, key, files, missing, self._options.group_column)
        self._sources[path] = sorted(sure, key=lambda found: found[0] is not listing)
        return KeyedTable(self._linked[path].table, self._matcher, self._linked[path].image)

    def _keys(self, listing: KeyedTable, table: KeyedTable) -> list[Key]:
        asked = self._asked(table)
        keys = find_keys(listing, table, asked[0]) if asked else []
        return [key for key in keys or find_keys(listing, table) if table.names_images_by(key.other)]

    def _asked(self, table: KeyedTable) -> list[int]:
        """The column of ids that the user has named, if the table has it."""
        return [column for column, name in enumerate(table.names) if name == self._options.id_column]

    def _chosen(self) -> Links:
        """The links, with what each table is for.

        Raises:
            DataError: a table of image names and a joined one could both give the labels.
        """
        divided = {path: part_table(link.by_image(), self._matcher) for path, link in self._linked.items()}
        parts = {path: found for path, found in divided.items() if found is not None}
        lists: dict[Path, None] = {}
        describing: list[Path] = []
        for path in [path for path in self._linked if path not in parts]:
            listing, key = self._sources[path][0]
            table, source = self._tables[path], listing.table.path
            asked = self._options.label_column
            labels = table.label_columns([key.other])
            claims = table.claims_labels(key.other, self._sample)
            if asked is not None and asked in listing.names and asked not in table.names:
                describing.append(path)
            elif listing.owns_labels(key.listing, self._sample):
                describing += [] if claims else [path]
            elif claims:
                lists |= {found.table.path: None for found, _ in self._sources[path]}
            elif not labels or (DESCRIBES.search(path.stem.lower()) and not DESCRIBES.search(source.stem.lower())):
                describing.append(path)
            elif listing.label_columns([key.listing]) and self._named is None and asked is None:
                raise DataError(
                    f"{source.name} names the images, and {path.name} has further values for its ids: each of these "
                    "could give the labels. Choose with --table NAME (data.table) and --label-column NAME "
                    "(data.label_column)"
                )
            else:
                lists |= {found.table.path: None for found, _ in self._sources[path]}
        return Links(
            tables=self._linked,
            lists=tuple(lists),
            describing=tuple(describing),
            parts=[*parts.values()],
            groups=self._groups,
        )


def _says_labels(table: KeyedTable) -> bool:
    """Whether a text file is a table with a column of labels."""
    return table.header and any_usual_label(table.names)


def _shares_cells(head: Sequence[Sequence[str]], listing: KeyedTable) -> bool:
    """Whether the first rows of a table share a cell with a table of image names."""
    known = listing.known_cells
    return any(shortened(composed(cell.strip())) in known for row in head for cell in row if cell.strip())
