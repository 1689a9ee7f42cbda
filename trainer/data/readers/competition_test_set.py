"""The test side of a competition of image files: its ids, its images and the form of its submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from trainer.common.errors import DataError
from trainer.data.images import FileImages
from trainer.data.readers.columns import column_names, has_header
from trainer.data.readers.image_files import ImageFiles, LookupFailedError, part_of
from trainer.data.readers.sample_submission import read_sample
from trainer.formats.delimited import Table
from trainer.formats.submission import SubmissionFormat, default_format


@dataclass(frozen=True, kw_only=True)
class TestPart:
    """Ids and images of the same order and number; what has no image is told in ``problems``."""

    __test__ = False  # not a test, whatever pytest makes of the name

    ids: tuple[str, ...]
    images: FileImages
    submission: SubmissionFormat | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrainWords:
    """What the training part calls things: its headers, its one-hot columns (empty where it has labels), and whether
    its ids carry the endings of the image files."""

    id_header: str
    label_header: str
    class_columns: tuple[str, ...]
    class_names: tuple[str, ...]
    endings: bool


def sample_has_header(sample: Table, files: ImageFiles, test_table: Table | None) -> bool:
    """Whether a sample's first row is a header: it is not where it names a test image, by file or in the test table."""
    listed_ids = {cell for row in test_table.rows[1:] for cell in row} if test_table else set()

    def names_image(cell: str) -> bool:
        return cell in listed_ids or files.has(cell, "test") or PurePosixPath(cell).suffix.lower() in _COMMON_ENDINGS

    return has_header(sample, names_image)


_COMMON_ENDINGS = (".jpg", ".jpeg", ".png")  # in the first row they betray an id even if its file is missing


def read_test_part(files: ImageFiles, words: TrainWords, *, sample: Table | None, test_table: Table | None) -> TestPart:
    """Find the test ids (in the sample, else in the test table, else the files of the test folder) and their images.

    Raises:
        DataError: a sample that cannot be used (`trainer.data.readers.sample_submission.read_sample`).
    """
    notes: list[str] = []
    warnings: tuple[str, ...] = ()
    form: SubmissionFormat | None = None
    rows: tuple[str, ...]
    if sample is not None:
        header = sample_has_header(sample, files, test_table)
        form, warnings = read_sample(
            sample, has_header=header, id_column=words.id_header, class_names=words.class_names
        )
        ids = form.ids
        rows = tuple(sample.row_name(index) for index in range(len(sample.rows) - len(ids), len(sample.rows)))
    elif test_table is not None:
        ids, rows = _table_ids(test_table, files, words.id_header)
        notes.append(f"test ids are those of {test_table.path.name}, for there is no sample submission")
    else:
        ids, rows = _file_ids(files, words.endings)
        if ids:
            notes.append("test ids are the names of the test images, for there is no sample submission")
    if form is None and ids:
        form = default_format(
            id_header=words.id_header,
            label_header=words.label_header,
            ids=ids,
            class_columns=words.class_columns,
            class_names=words.class_names,
        )
    elsewhere = _image_names(test_table, files, ids) if test_table is not None else {}
    found: list[tuple[str, str, str]] = []
    problems: list[str] = []
    for identifier, row in zip(ids, rows, strict=True):
        try:
            found.append((identifier, files.find(elsewhere.get(identifier, identifier), "test"), row))
        except LookupFailedError as problem:
            problems.append(f"{row}: {problem}")
    if len(problems) == len(ids) > 1:
        raise DataError(
            f"{rows[0].split(' row ')[0]} lists {len(ids)} test images, and none of them is in the folder (the first: "
            f"{ids[0]!r}); put them into test/ or test_images/"
        )
    return TestPart(
        ids=tuple(identifier for identifier, _, _ in found),
        images=FileImages(
            root=files.root, paths=tuple(path for _, path, _ in found), named_by=tuple(row for _, _, row in found)
        ),
        submission=form,
        problems=tuple(problems),
        notes=tuple(notes),
        warnings=warnings,
    )


def _table_ids(table: Table, files: ImageFiles, id_header: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    header = has_header(table, lambda cell: files.has(cell, "test"))
    names = column_names(table, header)
    column = names.index(id_header) if id_header in names else 0
    start = 1 if header else 0
    ids = tuple(row[column] for row in table.rows[start:])
    if len(set(ids)) != len(ids):
        twice = next(identifier for index, identifier in enumerate(ids) if identifier in ids[:index])
        raise DataError(f"{table.path.name}: the id {twice!r} is given twice")
    return ids, tuple(table.row_name(index) for index in range(start, len(table.rows)))


def _file_ids(files: ImageFiles, endings: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The test folders' files; ids are paths below the test folder, without ending where training ids have none."""
    ids: list[str] = []
    rows: list[str] = []
    for path in files.paths:
        folders = PurePosixPath(path).parts[:-1]
        marks = [depth for depth, folder in enumerate(folders) if part_of(folder) is not None]
        if not marks or part_of(folders[marks[-1]]) != "test":
            continue
        inner = PurePosixPath(*PurePosixPath(path).parts[marks[-1] + 1 :])
        ids.append(str(inner if endings else inner.with_suffix("")))
        rows.append(path)
    if len(set(ids)) != len(ids):
        raise DataError(
            "two test images have the same name; a sample submission or a test table has to tell them apart"
        )
    return tuple(ids), tuple(rows)


def _image_names(table: Table, files: ImageFiles, ids: Sequence[str]) -> dict[str, str]:
    """From test id to image name, where the test table has a column for each; empty where ids are image names."""
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
