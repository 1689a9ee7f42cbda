"""Read Kaggle's and SIGNATE's layout: a table of labels, folders of images, optionally a sample submission."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, listed
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import FileImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.class_folders import class_folder_names
from trainer.data.readers.columns.ambiguous_labels import NoLabelColumnError
from trainer.data.readers.columns.image_column import says_image
from trainer.data.readers.columns.label_names import any_usual_label
from trainer.data.readers.columns.several_labels import free_separator
from trainer.data.readers.competition_test_set import CompetitionTestSet, TrainingConventions, read_test_set
from trainer.data.readers.doubts.doubtful_labels import names_of_images
from trainer.data.readers.doubts.folders.folder_choice import folders_choice, inner_classes
from trainer.data.readers.doubts.groups.possible_groups import possible_groups
from trainer.data.readers.doubts.other_tables import bare_tables, how_to_save, may_give_labels, other_tables
from trainer.data.readers.doubts.shifted_numbers import partial_numbers
from trainer.data.readers.doubts.unread_images import (
    held_out,
    images_beside,
    in_other_folders,
    in_test_folders,
    unlisted,
    unlisted_images,
)
from trainer.data.readers.doubts.unused_marks import unused_marks
from trainer.data.readers.matching.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.parts.json_names import names_nothing
from trainer.data.readers.tables.find_tables import find_tables, is_named_training, own_warnings, packed_warnings
from trainer.data.readers.tables.reading.labelled_rows import LabelledRows, read_labelled_rows
from trainer.data.readers.tables.reading.sources import Sources, find_sources
from trainer.data.readers.tables.reading.table_files import first_rows
from trainer.data.readers.tables.reading.training_part import TrainingPart, training_part
from trainer.data.readers.tables.reading.training_rows import NoImageNamedError
from trainer.formats.class_lists import json_lists_classes
from trainer.formats.labels import TooFewClassesError
from trainer.inference.printable import printable


def read(folder: Path, options: DataOptions) -> ReadResult | None:
    """Read the training table, then the test set; None if no table names images.

    Raises:
        DataError: a table cannot be read, several tables or columns fit equally well, or no row can be used.
    """
    try:
        return _read(folder, options)
    except DataError as error:
        raise _with_folders_choice(error, folder, options) from error


def _with_folders_choice(error: DataError, folder: Path, options: DataOptions) -> DataError:
    """The error, with the advice to read class folders, if there are some and the table may be of something else."""
    given = options.layout or options.table or options.label_column or options.id_column
    if given or "--layout folders" in str(error) or "the folders are the classes" in str(error):
        return error
    files = ImageFiles.scan(folder)
    classes = class_folder_names(folder, files)
    no_labels = isinstance(error, (NoImageNamedError, NoLabelColumnError))
    inner = inner_classes(folder, files) if no_labels and not classes else None
    if inner is not None:
        choice = f"If the folders in {printable(inner.relative_to(folder).as_posix())} are the classes, "
        return DataError(
            error.problems, "\n".join(filter(None, (error.advice, f"{choice}{folders_choice(folder, files)}")))
        )
    tables = find_tables(folder, options.encoding).labels
    tells_nothing = isinstance(error, TooFewClassesError)
    if not classes or (not tells_nothing and any(_claims_labels(path, options.encoding) for path in tables)):
        return error
    classes = [name for name in classes if any(name in path.split("/")[:-1] for path in files.paths)] or classes
    choice = f"If the folders {listed(classes, 4)} are the classes, {folders_choice(folder, files)}"
    return DataError(error.problems, "\n".join(filter(None, (error.advice, choice))))


def _claims_labels(path: Path, encoding: str | None) -> bool:
    """Whether a table says by its name or header that it holds labels; that of a damaged one is not known."""
    if is_named_training(path):
        return True
    try:
        header = next(iter(first_rows(path, 1, encoding=encoding)), [])
    except DataError:
        return False
    return any_usual_label(header)


def _read(folder: Path, options: DataOptions) -> ReadResult | None:
    """As `read`."""
    sources = find_sources(folder, options)
    if sources is None:
        return None
    part = training_part(sources)
    labelled = _labelled_rows(sources, part)
    files, train, where = sources.files, labelled.train, part.table.name
    paths = {row.path for row in train.rows}
    test = _read_test_set(sources, part, labelled, paths)
    sources.unread.take_back([*part.lists, *([] if part.test_table is None else [part.test_table.path])])
    sources.unread.explain(part.unused)
    # Where rows have parts, a warning says already that those of validation images are not read.
    divided_off = set() if part.columns.part is None else set(sources.chosen.paths.values())
    of_folders = sources.chosen.of_folders
    masks = () if of_folders is None else of_folders.masks
    tested = {*test.images.paths}
    rest = unlisted_images(files, sources.matcher, sources.chosen.image_cells(), paths, {*tested, *masks})
    numbers = _other_numbers(sources, part, paths, rest)
    doubted = bool(numbers) and part.has_header and not says_image(part.names[part.columns.image])
    doubts = [numbers] if doubted else []
    if options.label_column is None:
        doubts += names_of_images(where, labelled.class_names)
    both = [f"{path} is listed both as a training and as a test image" for path in sorted(paths & tested)]
    image_set = ImageSet(
        root=folder,
        reader="table",
        class_names=labelled.class_names,
        train_ids=tuple(row.id for row in train.rows),
        y=labelled.y,
        train_images=FileImages(
            root=folder,
            paths=tuple(row.path for row in train.rows),
            named_by=tuple(row.row for row in train.rows),
        ),
        groups=None if part.columns.group is None else tuple(row.group for row in train.rows),
        test_ids=test.ids,
        test_images=test.images,
        submission=test.submission,
        label_source=_label_source(folder, part),
        notes=(
            _columns_note(folder, sources, part),
            *part.columns.notes,
            *train.notes,
            *sources.notes,
            *sources.unread.notes(),
            *labelled.notes,
            *test.notes,
            *files.ignored_notes(),
        ),
        warnings=(
            *sources.warnings,
            *sources.unread.warnings(),
            *labelled.contradictions,
            *part.warnings,
            *labelled.warnings,
            *test.warnings,
            *own_warnings(sources.tables),
            *(f"{printable(path.name)} is not read: {how_to_save(path)}" for path in _other_labels(sources, labelled)),
            *packed_warnings(folder),
            *in_test_folders(where, files, paths),
            *possible_groups(where, part.names, part.rows, part.used, part.labels, part.groups),
            *unused_marks(where, part.names, part.rows, part.used),
            *held_out(files, {*paths, *tested, *divided_off}),
            *in_other_folders(where, files, paths, test.images.paths, divided_off),
            *unlisted(where, rest),
            *([numbers] if numbers and not doubted else []),
            *files.unread_warnings(_image_folders((*paths, *test.images.paths)), read=_read_tables(sources, part)),
        ),
    )
    return ReadResult(
        image_set=image_set,
        problems=(
            *labelled.problems,
            *doubts,
            *both,
            *files.closed_problems(),
            *test.problems,
        ),
        skippable=train.skippable,
        advice=files.packed_hint() if test.problems or train.skippable else "",
    )


def _labelled_rows(sources: Sources, part: TrainingPart) -> LabelledRows:
    """The rows with labels. If too few of their images are there, the error names the archives that may hold them."""
    try:
        return read_labelled_rows(sources, part)
    except DataError as error:
        hint = sources.files.packed_hint()
        if error.advice or not hint or not any("there is no image" in problem for problem in error.problems):
            raise
        raise DataError(error.problems, hint) from error


def _other_numbers(sources: Sources, part: TrainingPart, trained: Collection[str], rest: Sequence[str]) -> str:
    """Why the ids may be no numbers of images, as `partial_numbers`; empty if they are, or the user has chosen them."""
    if sources.options.id_column is not None or sources.is_joined or sources.chosen.linked is not None or not rest:
        return ""
    name, cells = part.names[part.columns.image], sources.chosen.image_cells()
    return partial_numbers(part.table.name, name, cells, images_beside(sources.files, trained), rest)


def _read_test_set(
    sources: Sources, part: TrainingPart, labelled: LabelledRows, training_paths: Collection[str]
) -> CompetitionTestSet:
    """The test set. If its tables cannot be used, the error reports the problems of the training table, too."""
    linked = sources.chosen.linked
    try:
        return read_test_set(
            sources.files,
            _conventions(part, labelled),
            sample=sources.sample,
            test_table=part.test_table,
            training_paths=training_paths,
            listed_names={} if linked is None else linked.files,
        )
    except DataError as error:
        raise DataError([*labelled.problems, *error.problems], error.advice) from error


def _conventions(part: TrainingPart, labelled: LabelledRows) -> TrainingConventions:
    """How the training table writes ids and labels."""
    columns, names, rows = part.columns, part.names, labelled.train.rows
    lists, class_names = columns.lists, labelled.class_names
    return TrainingConventions(
        id_header=names[columns.id] if part.has_header and not names[columns.id].startswith("Unnamed") else "id",
        image_header=names[columns.image] if part.has_header and columns.image != columns.id else None,
        label_header=names[columns.label] if part.has_header and columns.label is not None else "label",
        class_columns=() if labelled.problems else tuple(names[column] for column in columns.classes),
        class_names=class_names,
        several_labels=part.lists_labels,
        separator=(lists and (lists.written or lists.separator)) or free_separator(class_names),
        ids_have_extension=all(PurePosixPath(row.id.strip()).suffix.lower() in IMAGE_SUFFIXES for row in rows),
    )


def _read_tables(sources: Sources, part: TrainingPart) -> set[Path]:
    """The tables that are read."""
    test = None if part.test_table is None else part.test_table.path
    return {path for path in (sources.chosen.table.path, sources.tables.sample, test) if path is not None}


def _other_labels(sources: Sources, labelled: LabelledRows) -> list[Path]:
    """Files beside the table whose names say that they hold labels, of kinds that are not read."""
    folder, images = sources.folder, sources.files.paths
    found = [path for path in (*other_tables(folder), *bare_tables(folder)) if may_give_labels(path)]
    found = [path for path in found if not names_nothing(path, images)]
    return [path for path in found if not json_lists_classes(path, labelled.class_names)]


def _image_folders(paths: Iterable[str]) -> set[str]:
    """The uppermost folders that hold these files; files beside the tables are in none."""
    return {PurePosixPath(path).parts[0] for path in paths if "/" in path}


def _label_source(folder: Path, part: TrainingPart) -> str:
    """As `ImageSet.label_source`."""
    path, label = part.table.path.relative_to(folder).as_posix(), part.columns.label
    return printable(path if label is None else f"{path}: {part.names[label]}")


def _columns_note(folder: Path, sources: Sources, part: TrainingPart) -> str:
    columns, names = part.columns, part.names
    label = f"label column {names[columns.label]!r}" if columns.label is not None else "one column per class"
    image = "" if columns.image == columns.id else f", image names in {names[columns.image]!r}"
    own = columns.part is not None and columns.part < len(sources.chosen.names)
    parts = f", parts in {names[columns.part or 0]!r}" if own else ""
    return f"{part.table.path.relative_to(folder).as_posix()}: id column {names[columns.id]!r}{image}, {label}{parts}"


READER = Reader(
    layout="DATA/train.csv (id, label), images in DATA/train/, train_images/ or images/ and test/ or test_images/, "
    "DATA/sample_submission.csv; also .tsv, JSON Lines, one column per class, tables without a header",
    read=read,
)
