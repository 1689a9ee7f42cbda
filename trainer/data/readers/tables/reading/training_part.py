"""Step 2: the rows of the training table that are for training, with what each column holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.several.denied_rows import without_denied_rows
from trainer.data.readers.columns.several.label_lists import with_lists
from trainer.data.readers.columns.several.single_lists import without_lists_of_one
from trainer.data.readers.parts.divide_table import TableLists, lists_beside
from trainer.data.readers.parts.listed_images import listed_images
from trainer.data.readers.parts.part_files import images_apart, spellings
from trainer.data.readers.parts.part_folders import parts_by_folders
from trainer.data.readers.tables.names_of_test_images import one_for_several
from trainer.data.readers.tables.part_tables import divided, split_parts, warn_of_untrained
from trainer.data.readers.tables.reading.sources import Sources
from trainer.formats.delimited import Table


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingPart:
    """The rows for training, and the table of the test images."""

    table: Table
    """Without rows of other parts."""
    first: int
    """Index of the first row below the header."""
    names: Sequence[str]
    """Of the columns."""
    columns: Columns
    test_table: Table | None
    lists: frozenset[Path]
    """The lists of images that divide the rows."""
    unused: frozenset[Path]
    """Lists of images that divide nothing, of which a warning speaks."""
    warnings: tuple[str, ...]

    @property
    def has_header(self) -> bool:
        """Whether the first row names the columns."""
        return self.first == 1

    @property
    def lists_labels(self) -> bool:
        """Whether an image may have several labels."""
        return self.columns.lists is not None

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """The rows below the header."""
        return self.table.rows[self.first :]

    @property
    def labels(self) -> list[str]:
        """The cells of each row below the header that give its label, as one text."""
        columns = self.columns
        given = columns.classes if columns.label is None else (columns.label,)
        return ["|".join(row[column].strip() for column in given) for row in self.rows]

    @property
    def groups(self) -> list[str] | None:
        """The cell of each row below the header that gives its group; None without such a column."""
        column = self.columns.group
        return None if column is None else [row[column].strip() for row in self.rows]

    @property
    def used(self) -> set[int | None]:
        """Indices of the columns that are read."""
        columns = self.columns
        return {columns.id, columns.image, columns.label, columns.group, columns.part, *columns.classes}


def training_part(sources: Sources) -> TrainingPart:
    """Divide the training table by its column of parts, a table of parts, lists of images, or the images' folders.

    Raises:
        DataError: columns or lists are ambiguous, or contradict each other.
    """
    chosen, options, test_table = sources.chosen, sources.options, sources.test_table
    lists, others, tests = TableLists(), list(sources.dividing), ""
    if not sources.is_joined and chosen.columns.part is None and not others:
        tests = _other_tests(sources)
        lists = _lists(sources, tests)
        parts = lists.parts or parts_by_folders(chosen.table.path, chosen.image_cells(), chosen.paths, sources.files)
        others = [parts] if parts is not None else []
    first = chosen.first
    table, names, columns = divided(chosen.table, first, chosen.names, chosen.columns, others, sources.matcher)
    table, columns = without_lists_of_one(table, first, columns)
    whole = table
    table, test_part, part_warnings = split_parts(whole, first, columns)
    if test_table is not None and test_table.path in lists.used | lists.unused:
        test_table = None
    if not tests:
        test_table = test_table or test_part
    test_table = test_table or (lists.test if sources.sample is None else None)
    if chosen.of_folders is None:
        _refuse_groups(table, first, names, columns, sources.sample)
    table, columns = with_lists(table, first, names, columns, options, sources.hints)
    untrained = [] if columns.lists is not None else warn_of_untrained(whole, table, first, columns.label)
    table, denials = without_denied_rows(table, first, names, columns, options.several_labels)
    return TrainingPart(
        table=table,
        first=first,
        names=names,
        columns=columns,
        test_table=test_table,
        lists=lists.used,
        unused=lists.unused,
        warnings=(*part_warnings, *untrained, *lists.warnings, *columns.warnings, *denials),
    )


def _other_tests(sources: Sources) -> str:
    """What gives test images that the training table does not label, as the beginning of a sentence; empty: nothing."""
    labelled = set(sources.chosen.paths.values())
    others = [path for path in sources.files.of_split(list(sources.files.paths), "test") if path not in labelled]
    tests = set(sources.files.paths_below("test"))
    known = spellings(others)
    for table in (sources.sample, sources.test_table):
        if table is not None:
            found, lost = listed_images(table.path, known, sources.options.encoding)
            if len(found) > len(lost):
                return f"{table.path.name} lists the test images"
    apart = next((path for path in others if path in tests), None)
    return "" if apart is None else f"{PurePosixPath(apart).parts[0]}/ holds the test images"


def _lists(sources: Sources, tests: str) -> TableLists:
    """The lists of images beside the training table.

    Args:
        tests: `_other_tests`.
    """
    chosen, files = sources.chosen, sources.files
    labelled = {path: cell for cell, path in chosen.paths.items()}
    folders = {PurePosixPath(path).parent for path in labelled}  # a class may be called masks
    beside = [path for path in files.paths if PurePosixPath(path).parent in folders]
    return lists_beside(
        sources.folder,
        chosen.table.path,
        labelled,
        list(dict.fromkeys((*files.of_split(list(files.paths), "test"), *beside))),
        images_apart(files),
        sources.options.encoding,
        {} if chosen.linked is None else chosen.linked.paths(files),
        has_tests=sources.test_table is not None or sources.sample is not None,
        tests=tests,
        is_chosen=sources.options.table is not None,
    )


def _refuse_groups(table: Table, first: int, names: Sequence[str], columns: Columns, sample: Table | None) -> None:
    """Raise a DataError if the column of ids gives one value to several images, as that of a patient does."""
    if columns.id == columns.image:
        return
    images: dict[str, set[str]] = defaultdict(set)
    for row in table.rows[first:]:
        images[row[columns.id].strip()].add(row[columns.image].strip())
    several = next((identifier for identifier, found in images.items() if len(found) > 1), None)
    if several is None:
        return
    name, where = names[columns.id], table.name
    if sample is not None and name in sample.rows[0]:
        raise one_for_several(sample.path.name, repr(name), several, f"{len(images[several])} images in {where}")
    raise DataError(
        f"{where}: {name!r} has the value {several!r} for {len(images[several])} images, so it is no column of ids. "
        "Choose another one with --id-column NAME (data.id_column); --group-column NAME (data.group_column) keeps the "
        "images of one value in one fold"
    )
