"""Read Kaggle's and SIGNATE's layout: a table of labels, folders of images, optionally a sample submission."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import FileImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.class_folders import class_folder_names, class_root
from trainer.data.readers.columns.choose_columns import Columns
from trainer.data.readers.columns.header import column_names
from trainer.data.readers.columns.label_columns import SampleHints
from trainer.data.readers.columns.label_names import is_usual_label
from trainer.data.readers.columns.several.denied_rows import refuse_all_labels, without_denied_rows
from trainer.data.readers.columns.several.label_lists import with_lists
from trainer.data.readers.columns.several_labels import encode_lists, free_separator
from trainer.data.readers.competition_test_set import (
    CompetitionTestSet,
    TrainingConventions,
    read_test_set,
    sample_has_header,
)
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels, doubtful_lists, soft_labels
from trainer.data.readers.doubts.possible_groups import possible_groups
from trainer.data.readers.doubts.unread_images import held_out, in_other_folders, in_test_folders, unlisted
from trainer.data.readers.doubts.unused_marks import unused_marks
from trainer.data.readers.matching.id_spellings import composed
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.divide_table import TableLists, lists_beside
from trainer.data.readers.parts.part_files import images_apart
from trainer.data.readers.sample_submission import spelled_as_in
from trainer.data.readers.tables.against_folders import (
    against_folders,
    named_by_folders,
    other_than_folders,
    other_than_names,
)
from trainer.data.readers.tables.choice.choose_table import choose_training_table
from trainer.data.readers.tables.choice.label_search import LabelSearch
from trainer.data.readers.tables.find_tables import (
    deeper_part_tables,
    deeper_tables,
    find_tables,
    own_warnings,
    packed_warnings,
)
from trainer.data.readers.tables.folder_labels import tables_beside_classes
from trainer.data.readers.tables.joined_tables import join_tables
from trainer.data.readers.tables.links.link_tables import link_tables
from trainer.data.readers.tables.links.other_names import refuse_other_names
from trainer.data.readers.tables.names_of_test_images import one_for_several
from trainer.data.readers.tables.part_tables import divided, find_part_tables, split_parts
from trainer.data.readers.tables.training_table import TrainingTable
from trainer.data.readers.training_rows import read_training_rows
from trainer.formats.delimited import Table, read_table
from trainer.formats.labels import encode
from trainer.inference.printable import printable


def read(folder: Path, options: DataOptions) -> ReadResult | None:
    """Read the training table, then the test set; None if no table names images.

    Raises:
        DataError: a table cannot be read, several tables or columns fit equally well, or no row can be used.
    """
    tables = find_tables(folder, options.encoding)
    files = ImageFiles.scan(folder)
    sample = read_table(tables.sample, encoding=options.encoding) if tables.sample else None
    test_table = read_table(tables.test, encoding=options.encoding) if tables.test else None
    notes: list[str] = []
    warnings: list[str] = []
    hints = _hints(sample, ImageMatcher(files, "test"), test_table)
    class_folders = [] if options.layout == "table" else class_folder_names(folder, files)
    matcher = ImageMatcher(files, "train")
    part_paths = (*tables.labels, *deeper_part_tables(folder))
    dividing = find_part_tables(part_paths, matcher, options.encoding)
    joined = join_tables(tables.labels, matcher, options.encoding, class_folders) if options.table is None else None
    if joined is not None:
        notes += joined.notes
        warnings += joined.warnings
        dividing = [joined.parts] if joined.parts is not None else []
        chosen: TrainingTable | None = TrainingTable(joined.table, options, matcher, hints)
    else:
        beside = tables_beside_classes(class_root(folder, files), folder, class_folders)
        named = None if options.table is None else folder / options.table
        deeper = [] if class_folders and named is None else deeper_tables(folder, options.encoding)
        links = link_tables((*tables.labels, *beside, *deeper), matcher, options, hints, named)
        dividing = [*(entry for entry in dividing if entry.path not in links.tables), *links.parts]
        parting = [entry.path for entry in dividing]
        search = LabelSearch(
            files=files,
            options=options,
            sample=hints,
            class_folders=class_folders,
            links=links,
            notes=notes,
            warnings=warnings,
        )
        chosen = choose_training_table(search, tables, beside, parting)
    if chosen is None:
        if dividing and not class_folders:
            raise DataError(f"{dividing[0].path.name} divides the images into parts, but no table labels them")
        return None
    if joined is None and chosen.linked is None and options.table is None and options.id_column is None:
        refuse_other_names(folder, chosen, matcher, options.encoding)
    if (testing := tables.test_beside(chosen.table.path)) is not None and testing != tables.test:
        test_table = read_table(testing, encoding=options.encoding)
    if chosen.table.path in (tables.test, *tables.tests):  # named by the user
        test_table = None
    first, header = chosen.first, chosen.header
    notes += [chosen.boxes.note] if chosen.boxes is not None else []
    others = [entry for entry in dividing if entry.path != chosen.table.path]
    lists = TableLists()
    if joined is None and chosen.columns.part is None and not others:
        labelled = {path: cell for cell, path in matcher.match(chosen.image_cells()).paths.items()}
        images = files.of_split(list(files.paths), "test")
        ids = {} if chosen.linked is None else chosen.linked.paths(files)
        lists = lists_beside(
            folder,
            chosen.table.path,
            labelled,
            images,
            images_apart(files),
            options.encoding,
            ids,
            has_tests=test_table is not None or sample is not None,
        )
        others = [lists.parts] if lists.parts is not None else []
    table, names, columns = divided(chosen.table, first, chosen.names, chosen.columns, others, matcher)
    table, test_part, part_warnings = split_parts(table, first, columns)
    if test_part is not None and (test_table is None or test_table.path in lists.used):
        test_table = test_part
    test_table = test_table or (lists.test if sample is None else None)
    whole = not any("." in value for value in hints.values)
    if chosen.of_folders is None:
        _refuse_groups(table, first, names, columns, sample)
    table, columns = with_lists(table, first, names, columns, options, hints)
    several = columns.lists is not None
    table, denials = without_denied_rows(table, first, names, columns, options.several_labels)
    train = read_training_rows(table, first, names, columns, files, options.similar_labels, whole=whole)
    refuse_all_labels(table, first, names, columns, options.several_labels)
    doubts = soft_labels(table, first, columns)
    if columns.label is not None and not several:
        doubts += doubtful_labels(
            table.path.name, [row.label for row in train.rows], lists=options.several_labels == "auto", cells=True
        )
    if not several:
        warnings += other_than_names(train.rows, table.path.name)
    if not header and sample is None and not several and (names_of := named_by_folders(train.rows, class_folders)):
        rows = tuple(dataclasses.replace(row, label=names_of[row.label]) for row in train.rows)
        train = dataclasses.replace(train, rows=rows)
        first_label = next(iter(names_of))
        notes.append(
            f"the numbers in {table.path.name} stand for the folders, such as {first_label} for "
            f"{names_of[first_label]!r}; --layout table keeps the numbers"
        )
    problems = list(train.problems)
    try:
        labels = [row.label for row in train.rows]
        class_names, y = encode_lists(labels) if several else encode(spelled_as_in(sample, labels))
    except DataError as error:
        raise DataError([*error.problems, *problems, *(problem.message for problem in train.skippable)]) from error
    if several:
        most = int(y.sum(axis=1).max())
        doubts += doubtful_lists(table.path.name, class_names, most, options.several_labels)
    if options.table is None and options.layout is None and chosen.of_folders is None and not several:
        problems += against_folders(train.rows, class_folders)
        warnings += other_than_folders(train.rows, class_folders, table.path.name)
    conventions = TrainingConventions(
        id_header=names[columns.id] if header and not names[columns.id].startswith("Unnamed") else "id",
        image_header=names[columns.image] if header and columns.image != columns.id else None,
        label_header=names[columns.label] if header and columns.label is not None else "label",
        class_columns=() if problems else tuple(names[column] for column in columns.classes),
        class_names=class_names,
        several_labels=several,
        separator=(columns.lists and (columns.lists.written or columns.lists.separator)) or free_separator(class_names),
        ids_have_extension=all(PurePosixPath(row.id.strip()).suffix.lower() in IMAGE_SUFFIXES for row in train.rows),
    )
    paths = {row.path for row in train.rows}
    taken = {columns.id, columns.image, columns.label, columns.group, columns.part, *columns.classes}
    listed = {} if chosen.linked is None else chosen.linked.files
    test = _read_test_set(files, conventions, sample, test_table, problems, paths, listed)
    both = sorted(paths.intersection(test.images.paths))
    problems += [f"{path} is listed both as a training and as a test image" for path in both]
    image_set = ImageSet(
        root=folder,
        reader="table",
        class_names=class_names,
        train_ids=tuple(row.id for row in train.rows),
        y=y,
        train_images=FileImages(
            root=folder,
            paths=tuple(row.path for row in train.rows),
            named_by=tuple(row.row for row in train.rows),
        ),
        groups=None if columns.group is None else tuple(row.group for row in train.rows),
        test_ids=test.ids,
        test_images=test.images,
        submission=test.submission,
        label_source=_label_source(folder, table, names, columns),
        notes=(
            _columns_note(folder, table, names, columns),
            *columns.notes,
            *train.notes,
            *notes,
            *test.notes,
            *files.ignored_notes(),
        ),
        warnings=(
            *warnings,
            *part_warnings,
            *lists.warnings,
            *columns.warnings,
            *denials,
            *train.warnings,
            *doubts,
            *test.warnings,
            *own_warnings(tables),
            *packed_warnings(folder),
            *in_test_folders(table.path.name, files, paths),
            *possible_groups(table.path.name, names, table.rows[first:], taken),
            *unused_marks(table.path.name, names, table.rows[first:], taken),
            *held_out(files, {*paths, *test.images.paths}),
            *in_other_folders(table.path.name, files, paths, test.images.paths),
            *unlisted(table.path.name, files, matcher, chosen.image_cells(), paths, test.images.paths),
            *files.unread_warnings(
                _image_folders([*(row.path for row in train.rows), *test.images.paths]),
                read={path for path in (chosen.table.path, tables.sample, test_table and test_table.path) if path},
            ),
        ),
    )
    problems += files.closed_problems()
    advice = files.packed_hint() if test.problems or train.skippable else ""
    return ReadResult(
        image_set=image_set, problems=(*problems, *test.problems), skippable=train.skippable, advice=advice
    )


def _read_test_set(
    files: ImageFiles,
    conventions: TrainingConventions,
    sample: Table | None,
    test_table: Table | None,
    problems: list[str],
    training_paths: Collection[str],
    listed: Mapping[str, str],
) -> CompetitionTestSet:
    """The test set. If its tables cannot be used, the error reports the ``problems`` of the training table, too."""
    try:
        return read_test_set(
            files, conventions, sample=sample, test_table=test_table, training_paths=training_paths, listed_names=listed
        )
    except DataError as error:
        raise DataError([*problems, *error.problems], error.advice) from error


def _image_folders(paths: Iterable[str]) -> set[str]:
    """The uppermost folders that hold these files; files beside the tables are in none."""
    return {PurePosixPath(path).parts[0] for path in paths if "/" in path}


def _hints(sample: Table | None, matcher: ImageMatcher, test_table: Table | None) -> SampleHints:
    if sample is None:
        return SampleHints()
    header = column_names(sample, True) if sample_has_header(sample, matcher, test_table) else ()
    values: set[str] = set()
    if sample.width == 2:
        position = 1 if not header or not is_usual_label(header[0]) else 0
        values = {composed(row[position].strip()) for row in sample.rows[1 if header else 0 :]}
    return SampleHints(header=header, values=frozenset(values if len(values) > 1 or _has_words(values) else ()))


def _has_words(values: Collection[str]) -> bool:
    return any(len(value.split()) > 1 for value in values)


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
    name, where = names[columns.id], table.path.name
    if sample is not None and name in sample.rows[0]:
        raise one_for_several(sample.path.name, repr(name), several, f"{len(images[several])} images in {where}")
    raise DataError(
        f"{where}: {name!r} has the value {several!r} for {len(images[several])} images, so it is no column of ids. "
        "Choose another one with --id-column NAME (data.id_column); --group-column NAME (data.group_column) keeps the "
        "images of one value in one fold"
    )


def _label_source(folder: Path, table: Table, names: Sequence[str], columns: Columns) -> str:
    """As `ImageSet.label_source`."""
    path = table.path.relative_to(folder).as_posix()
    return printable(path if columns.label is None else f"{path}: {names[columns.label]}")


def _columns_note(folder: Path, table: Table, names: Sequence[str], columns: Columns) -> str:
    label = f"label column {names[columns.label]!r}" if columns.label is not None else "one column per class"
    image = "" if columns.image == columns.id else f", image names in {names[columns.image]!r}"
    part = f", parts in {names[columns.part]!r}" if columns.part is not None else ""
    return f"{table.path.relative_to(folder).as_posix()}: id column {names[columns.id]!r}{image}, {label}{part}"


READER = Reader(
    layout="DATA/train.csv (id, label), images in DATA/train/, train_images/ or images/ and test/ or test_images/, "
    "DATA/sample_submission.csv; also .tsv, one column per class, tables without a header",
    read=read,
)
