"""Read Kaggle's and SIGNATE's layout: a table of labels, folders of images, optionally a sample submission."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import FileImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.columns import Columns, choose_columns, column_names, has_header
from trainer.data.readers.competition_test_set import (
    CompetitionTestSet,
    TrainingConventions,
    read_test_set,
    sample_has_header,
)
from trainer.data.readers.find_tables import find_tables
from trainer.data.readers.image_files import IMAGE_SUFFIXES, ImageFiles
from trainer.data.readers.training_rows import read_training_rows
from trainer.formats.delimited import Table, read_table
from trainer.formats.labels import encode


def detect(folder: Path) -> bool:
    """Whether a table is named as training labels, or is the only table and names images."""
    tables = find_tables(folder)
    if tables.train is None or tables.sure:
        return tables.train is not None
    try:
        rows = read_table(tables.train).rows
    except DataError:
        return False  # a table without a training name may be something else, so this is no error
    files = ImageFiles.scan(folder)
    return any(files.has(cell, "train") for row in rows[:50] for cell in row)


def read(folder: Path, options: DataOptions) -> ReadResult:
    """Read the training table, then the test set.

    Raises:
        DataError: a table cannot be read, its columns are ambiguous, or no row can be used.
    """
    tables = find_tables(folder)
    if tables.train is None:
        raise DataError(f"{folder} holds no table of training labels")
    files = ImageFiles.scan(folder)
    table = read_table(tables.train)
    sample = read_table(tables.sample) if tables.sample else None
    test_table = read_table(tables.test) if tables.test else None

    def names_image(cell: str) -> bool:
        return files.has(cell, "train")

    header = has_header(table, names_image)
    names = column_names(table, header)
    first = 1 if header else 0
    sample_columns: tuple[str, ...] = ()
    if sample is not None and sample_has_header(sample, files, test_table):
        sample_columns = column_names(sample, True)
    columns = choose_columns(table, names, table.rows[first:], options, names_image, sample_columns)
    train = read_training_rows(table, first, names, columns, files)
    class_names, y = encode([row.label for row in train.rows])
    problems = list(train.problems)
    conventions = TrainingConventions(
        id_header=names[columns.id] if header else "id",
        label_header=names[columns.label] if header and columns.label is not None else "label",
        class_columns=() if problems else tuple(names[column] for column in columns.classes),
        class_names=class_names,
        ids_have_extension=all(PurePosixPath(row.id.strip()).suffix.lower() in IMAGE_SUFFIXES for row in train.rows),
    )
    test = _read_test_set(files, conventions, sample, test_table, problems)
    both = sorted({row.path for row in train.rows}.intersection(test.images.paths))
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
        notes=(_columns_note(table, names, columns), *test.notes, *files.ignored_notes()),
        warnings=(
            *train.warnings,
            *test.warnings,
            *files.unread_warnings(_image_folders([*(row.path for row in train.rows), *test.images.paths])),
        ),
    )
    problems += files.closed_problems()
    return ReadResult(image_set=image_set, problems=(*problems, *test.problems), skippable=train.skippable)


def _read_test_set(
    files: ImageFiles,
    conventions: TrainingConventions,
    sample: Table | None,
    test_table: Table | None,
    problems: list[str],
) -> CompetitionTestSet:
    """The test set. If its tables cannot be used, the error reports the ``problems`` of the training table, too."""
    try:
        return read_test_set(files, conventions, sample=sample, test_table=test_table)
    except DataError as error:
        raise DataError([*problems, *error.problems]) from error


def _image_folders(paths: Iterable[str]) -> set[str]:
    """The uppermost folders that hold these files; files beside the tables are in none."""
    return {PurePosixPath(path).parts[0] for path in paths if "/" in path}


def _columns_note(table: Table, names: Sequence[str], columns: Columns) -> str:
    label = f"label column {names[columns.label]!r}" if columns.label is not None else "one column per class"
    image = "" if columns.image == columns.id else f", image names in {names[columns.image]!r}"
    return f"{table.path.name}: id column {names[columns.id]!r}{image}, {label}"


READER = Reader(
    layout="DATA/train.csv (id, label), images in DATA/train/, train_images/ or images/ and test/ or test_images/, "
    "DATA/sample_submission.csv; also .tsv, one column per class, tables without a header",
    detect=detect,
    read=read,
)
