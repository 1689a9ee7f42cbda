"""Read the test set of a competition with image files: ids, images and the format of a submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.common.errors import DataError
from trainer.data.images import FileImages
from trainer.data.readers.columns import column_names, has_header
from trainer.data.readers.image_files import ImageFiles, ImageLookupError, split_of
from trainer.data.readers.sample_submission import read_sample
from trainer.formats.delimited import Table
from trainer.formats.submission import SubmissionFormat, default_format
from trainer.inference.printable import name_problem, printable


@dataclass(frozen=True, kw_only=True)
class CompetitionTestSet:
    """The test images.

    ids, images: the images that were found, in the order of the table that lists them.
    submission: the format of a submission; None without test ids.
    problems: one sentence for each id without an image.
    notes, warnings: sentences for the user.
    """

    ids: tuple[str, ...]
    images: FileImages
    submission: SubmissionFormat | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingConventions:
    """Names and forms that the training data use, and that the test set follows.

    id_header, label_header: names of the columns of ids and labels.
    class_columns: names of the one-hot or probability columns; empty where there is a column of labels.
    class_names: the labels in their fixed order.
    ids_have_extension: whether the training ids end in the extension of the image file.
    """

    id_header: str
    label_header: str
    class_columns: tuple[str, ...]
    class_names: tuple[str, ...]
    ids_have_extension: bool


_COMMON_EXTENSIONS = (".jpg", ".jpeg", ".png")  # a first row with one is no header, even if the file is missing


def sample_has_header(sample: Table, files: ImageFiles, test_table: Table | None) -> bool:
    """Whether the sample's first row is a header, that is, names no test image by file or by id of the test table."""
    listed_ids = {cell for row in test_table.rows[1:] for cell in row} if test_table else set()

    def names_image(cell: str) -> bool:
        return cell in listed_ids or files.has(cell, "test") or PurePosixPath(cell).suffix.lower() in _COMMON_EXTENSIONS

    return has_header(sample, names_image)


def read_test_set(
    files: ImageFiles, conventions: TrainingConventions, *, sample: Table | None, test_table: Table | None
) -> CompetitionTestSet:
    """Find the test ids and their images.

    The ids are those of the sample submission, else those of the test table, else the names of the files in the test
    folder.

    Raises:
        DataError: a sample that cannot be used (see `trainer.data.readers.sample_submission.read_sample`), an id that
            occurs twice, or several test images none of which is found.
    """
    notes: list[str] = []
    warnings: tuple[str, ...] = ()
    form: SubmissionFormat | None = None
    rows: tuple[str, ...]
    if sample is not None:
        header = sample_has_header(sample, files, test_table)
        form, warnings = read_sample(
            sample, has_header=header, id_column=conventions.id_header, class_names=conventions.class_names
        )
        ids = form.ids
        rows = tuple(sample.row_name(index) for index in range(len(sample.rows) - len(ids), len(sample.rows)))
    elif test_table is not None:
        ids, rows = _table_ids(test_table, files, conventions.id_header)
        notes.append(f"test ids come from {test_table.path.name}, because there is no sample submission")
    else:
        ids, rows = _file_ids(files, conventions.ids_have_extension)
        if ids:
            notes.append("test ids are the names of the test images, because there is no sample submission")
    if form is None and ids:
        form = default_format(
            id_header=conventions.id_header,
            label_header=conventions.label_header,
            ids=ids,
            class_columns=conventions.class_columns,
            class_names=conventions.class_names,
        )
    image_names = _image_names(test_table, files, ids) if test_table is not None else {}
    found, images, problems = _find_images(ids, rows, files, image_names)
    return CompetitionTestSet(
        ids=found, images=images, submission=form, problems=problems, notes=tuple(notes), warnings=warnings
    )


def _find_images(
    ids: Sequence[str], rows: Sequence[str], files: ImageFiles, image_names: Mapping[str, str]
) -> tuple[tuple[str, ...], FileImages, tuple[str, ...]]:
    """The ids with an image, these images, and one problem for each other id. ``rows`` names the ids' table rows."""
    found: list[tuple[str, str, str]] = []
    problems: list[str] = []
    for identifier, row in zip(ids, rows, strict=True):
        try:
            found.append((identifier, files.find(image_names.get(identifier, identifier), "test"), row))
        except ImageLookupError as problem:
            problems.append(f"{row}: {problem}")
    if len(problems) == len(ids) > 1:
        raise DataError(
            f"{rows[0].split(' row ')[0]} lists {len(ids)} test images, but none of them is in the folder (the first: "
            f"{ids[0]!r}); put them into test/ or test_images/",
            files.missing_hint(),
        )
    images = FileImages(
        root=files.root, paths=tuple(path for _, path, _ in found), named_by=tuple(row for _, _, row in found)
    )
    return tuple(identifier for identifier, _, _ in found), images, tuple(problems)


def _table_ids(table: Table, files: ImageFiles, id_header: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the test table, and the name of each row in messages."""
    header = has_header(table, lambda cell: files.has(cell, "test"))
    names = column_names(table, header)
    column = names.index(id_header) if id_header in names else 0
    start = 1 if header else 0
    ids = tuple(row[column] for row in table.rows[start:])
    if len(set(ids)) != len(ids):
        twice = next(identifier for index, identifier in enumerate(ids) if identifier in ids[:index])
        raise DataError(f"{table.path.name}: the id {twice!r} is given twice")
    return ids, tuple(table.row_name(index) for index in range(start, len(table.rows)))


def _file_ids(files: ImageFiles, keep_extension: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids and paths of the files in test folders. An id is the path below the test folder."""
    ids: list[str] = []
    rows: list[str] = []
    for path in files.paths:
        folders = PurePosixPath(path).parts[:-1]
        split_folders = [depth for depth, folder in enumerate(folders) if split_of(folder) is not None]
        if not split_folders or split_of(folders[split_folders[-1]]) != "test":
            continue
        inner = PurePosixPath(*PurePosixPath(path).parts[split_folders[-1] + 1 :])
        ids.append(str(inner if keep_extension else inner.with_suffix("")))
        rows.append(path)
    bad = [(path, problem) for path in rows if (problem := name_problem(path))]
    if bad:
        raise DataError(f"{printable(path)}: the file name {problem}" for path, problem in bad)
    if len(set(ids)) != len(ids):
        raise DataError(
            "two test images have the same name; add a sample submission or a test table that tells them apart"
        )
    return tuple(ids), tuple(rows)


def _image_names(table: Table, files: ImageFiles, ids: Sequence[str]) -> dict[str, str]:
    """Image names by test id, where the test table has a column for each; empty where the ids are image names."""
    wanted = set(ids)
    columns = list(zip(*table.rows, strict=True))
    keys = max(columns, key=lambda column: len(wanted.intersection(column)))
    values = max(columns, key=lambda column: sum(files.has(cell, "test") for cell in column[:200]))
    if (
        keys is values
        or not wanted.intersection(keys)
        or any(files.has(identifier, "test") for identifier in ids[:200])
    ):
        return {}
    return dict(zip(keys, values, strict=True))
