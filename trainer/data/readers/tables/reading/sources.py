"""Step 1: the tables and images of a data folder, and the table among them that labels the training images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions
from trainer.data.readers.class_folders import class_folder_names, class_root, subfolders
from trainer.data.readers.columns.header import column_names
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import is_usual_label
from trainer.data.readers.competition_test_set import sample_has_header, sample_id_position
from trainer.data.readers.doubts.folders.folder_choice import below_tables
from trainer.data.readers.doubts.unused_marks import unused_marks
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.matching.named_path import path_as_spelled
from trainer.data.readers.tables.choice.choose_table import choose_training_table
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.choice.tables_in_classes import tables_in_classes
from trainer.data.readers.tables.choice.unread_tables import UnreadTables
from trainer.data.readers.tables.find_tables import Tables, deeper_part_tables, deeper_tables, find_tables
from trainer.data.readers.tables.folder_labels import tables_beside_classes
from trainer.data.readers.tables.joined_tables import join_tables
from trainer.data.readers.tables.links.link_tables import link_tables
from trainer.data.readers.tables.links.other_names import refuse_other_names
from trainer.data.readers.tables.part_tables import PartTable, find_part_tables
from trainer.data.readers.tables.reading.divisions_beside import Divided, divisions_by, side_tables
from trainer.data.readers.tables.reading.group_lists import refuse_group_lists
from trainer.data.readers.tables.reading.table_files import read_table
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.formats.delimited import Table
from trainer.inference.printable import printable


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """The tables and images of a data folder."""

    options: DataOptions
    files: ImageFiles
    tables: Tables
    sample: Table | None
    """The sample submission."""
    test_table: Table | None
    """The table of the test images."""
    hints: SampleHints
    """What ``sample`` says about the labels."""
    class_folders: Sequence[str]
    """Names of the folders that could be the classes."""
    matcher: ImageMatcher
    """Finds the images of ``chosen``."""
    chosen: TrainingTable
    """It labels the training images."""
    dividing: Sequence[PartTable]
    """Tables that divide the images into parts."""
    is_joined: bool
    """Whether ``chosen`` was joined from several tables of numbered images."""
    unread: UnreadTables
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.files.root


def find_sources(folder: Path, options: DataOptions) -> Sources | None:
    """Find the tables and images of a folder; None if no table labels images.

    Raises:
        DataError: a table cannot be read, or several tables fit equally well.
    """
    files = ImageFiles.scan(folder)
    class_folders = [] if options.layout == "table" else class_folder_names(folder, files)
    found = _find_sources(files, options, class_folders)
    if found is None and class_folders and tables_in_classes(folder, files, options).surely_label():
        return _find_sources(files, options, [])
    return found


def _find_sources(files: ImageFiles, options: DataOptions, class_folders: Sequence[str]) -> Sources | None:
    """As `find_sources`, among ``class_folders`` that may give the labels instead."""
    folder = files.root
    tables = find_tables(folder, options.encoding)
    sample = read_table(tables.sample, encoding=options.encoding) if tables.sample else None
    test_table = read_table(tables.test, encoding=options.encoding) if tables.test else None
    hints = _hints(sample, ImageMatcher(files, "test"), test_table)
    matcher = ImageMatcher(files, "train")
    dividing = find_part_tables((*tables.labels, *deeper_part_tables(folder)), matcher, options.encoding)
    joined = join_tables(tables.labels, matcher, options.encoding, class_folders) if options.table is None else None
    unread = UnreadTables(folder=folder)
    notes, warnings = ([], []) if joined is None else (list(joined.notes), list(joined.warnings))
    if joined is not None:
        dividing = [joined.parts] if joined.parts is not None else []
        chosen: TrainingTable | None = TrainingTable(joined.table, options, matcher, hints)
    else:
        beside = tables_beside_classes(class_root(folder, files), folder, class_folders)
        named = None if options.table is None else path_as_spelled(folder, options.table)
        deeper = deeper_tables(folder, options.encoding)
        naming = (*tables.labels, *beside, *([] if class_folders and named is None else deeper))
        links = link_tables(naming, matcher, options, hints, named)
        dividing = [*(entry for entry in dividing if entry.path not in links.tables), *links.parts]
        search = LabelSearch(
            files=files,
            options=options,
            sample=hints,
            class_folders=class_folders,
            links=links,
            deeper=deeper,
            unread=unread,
            notes=notes,
            warnings=warnings,
        )
        chosen = choose_training_table(search, tables, beside, [entry.path for entry in dividing])
        if chosen is not None:
            dividing = dividing or _division_beside(search, chosen, dict.fromkeys((*naming, *deeper)))
    if chosen is None:
        if dividing and not class_folders:
            raise _without_labels(files, dividing[0].path)
        return None
    if joined is None and chosen.linked is None and options.table is None and options.id_column is None:
        refuse_other_names(folder, chosen, matcher, options.encoding)
    notes += [chosen.boxes.note] if chosen.boxes is not None else []
    if (testing := tables.test_beside(chosen.table.path)) is not None and testing != tables.test:
        test_table = read_table(testing, encoding=options.encoding)
    named_by_user = chosen.table.path in (tables.test, *tables.tests)
    return Sources(
        options=options,
        files=files,
        tables=tables,
        sample=sample,
        test_table=None if named_by_user else test_table,
        hints=hints,
        class_folders=class_folders,
        matcher=chosen.matcher,
        chosen=chosen,
        dividing=[entry for entry in dividing if entry.path != chosen.table.path],
        is_joined=joined is not None,
        unread=unread,
        notes=notes,
        warnings=warnings,
    )


def _without_labels(files: ImageFiles, division: Path) -> DataError:
    """The error for a table that divides images of which no table gives the labels. Folders in a wrapper may."""
    where = printable(division.relative_to(files.root).as_posix())
    problem = f"{where} divides the images into parts, but no table labels them"
    classes = below_tables(files.root, files)
    if classes is None:
        return DataError(
            problem, "Write a table labels.csv with the columns image and label, and one row for each image"
        )
    inner = printable(classes.relative_to(files.root).as_posix())
    return DataError(
        problem,
        f"If the folders in {inner} are the classes, move {where} into {inner}; to read them without it, add --layout "
        "folders (data.layout)",
    )


def _division_beside(search: LabelSearch, chosen: TrainingTable, paths: Collection[Path]) -> list[PartTable]:
    """What tables and lists beside the training table say about its images: their parts, and marks to leave some out.

    Marks become warnings of ``search``.

    Args:
        paths: all tables.

    Raises:
        DataError: a table or a list seems to divide the images in a way that is not read.
    """
    read = {chosen.table.path, *search.links.tables, *search.links.lists}
    divided, matcher = _divided(chosen), chosen.matcher
    others = [path for path in paths if path not in read]
    beside = side_tables(others, divided, matcher, search.options.encoding, search.read)
    for table in beside:
        search.warnings.extend(unused_marks(search.place_of(table.path), table.names, table.rows, [table.key]))
    if chosen.columns.part is not None:
        return []
    places = [search.folder, *(path for path in subfolders(search.folder) if not path.is_symlink())]
    refuse_group_lists(search.folder, places, divided, chosen.table.path.name, search.options.encoding)
    dividing = divisions_by(beside)
    search.unread.take_back([entry.path for entry in dividing])
    return dividing


def _divided(chosen: TrainingTable) -> Divided:
    """The images of the training table, and its columns that may say to which patient or the like they belong."""
    columns, rows = chosen.columns, chosen.table.rows[chosen.first :]
    taken = {columns.id, columns.image, columns.label, *columns.classes}
    groups = {
        name: {row[columns.image].strip(): row[column].strip() for row in rows}
        for column, name in enumerate(chosen.names)
        if column not in taken
    }
    images = {cell.strip(): path for cell, path in chosen.paths.items()}
    return Divided(images=images, groups=groups)


def _hints(sample: Table | None, matcher: ImageMatcher, test_table: Table | None) -> SampleHints:
    if sample is None:
        return SampleHints()
    header = column_names(sample, True) if sample_has_header(sample, matcher, test_table) else ()
    ids = sample_id_position(sample, matcher, test_table) if header else 0
    values: set[str] = set()
    if sample.width == 2:
        position = 1 - ids if not header or not is_usual_label(header[0]) else 0
        values = {composed(row[position].strip()) for row in sample.rows[1 if header else 0 :]}
    header = (*header[ids : ids + 1], *header[:ids], *header[ids + 1 :])
    return SampleHints(header=header, values=frozenset(values if len(values) > 1 or _has_words(values) else ()))


def _has_words(values: Collection[str]) -> bool:
    return any(len(value.split()) > 1 for value in values)
