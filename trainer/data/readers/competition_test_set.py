"""Read the test set of a competition with image files: ids, images and the format of a submission."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer.common.errors import DataError, counted, listed
from trainer.data.images import FileImages
from trainer.data.names.masks import masks_among
from trainer.data.readers.columns.header import column_names, has_header
from trainer.data.readers.doubts.folders.folder_advice import mask_warnings
from trainer.data.readers.doubts.unread_images import tests_apart, unlisted_test_images
from trainer.data.readers.matching.image_files import ImageFiles
from trainer.data.readers.matching.lookup_errors import ImageAmbiguousError
from trainer.data.readers.matching.match_images import ImageMatcher
from trainer.data.readers.parts.own_folder import of_tests
from trainer.data.readers.sample_submission import read_sample
from trainer.data.readers.tables.names_of_test_images import image_names, listed_names_of, one_for_several
from trainer.formats.delimited import Table
from trainer.formats.submission import SubmissionFormat, default_format
from trainer.inference.printable import name_problem, printable

_PROBED_IDS = 200  # ids of a sample that are looked for to find their column
SHOWN_IDS = 5  # ids without an image whose nearest file name is searched


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
    image_header: name of the column of image names; None where the ids are image names.
    class_columns: names of the one-hot or probability columns; empty where there is a column of labels.
    class_names: the labels in their fixed order.
    several_labels: whether an image may have several labels, or none.
    separator: between several labels in a cell.
    ids_have_extension: whether the training ids end in the extension of the image file.
    """

    id_header: str
    image_header: str | None
    label_header: str
    class_columns: tuple[str, ...]
    class_names: tuple[str, ...]
    ids_have_extension: bool
    several_labels: bool = False
    separator: str = " "


def sample_has_header(sample: Table, matcher: ImageMatcher, test_table: Table | None) -> bool:
    """Whether the sample's first row is a header, that is, names no test image by file or by id of the test table."""
    listed_ids = {cell for row in test_table.rows[1:] for cell in row} if test_table else set()
    return not listed_ids.intersection(sample.rows[0]) and has_header(sample, matcher)


def sample_id_position(sample: Table, matcher: ImageMatcher, test_table: Table | None) -> int:
    """The column of a sample with a header that holds the ids: the first, unless it repeats values as predictions do,
    and another one has its own value in each row and names the test images or the ids of the test table.
    """
    columns = list(zip(*sample.rows[1:], strict=True))
    listed_ids = {cell for row in test_table.rows[1:] for cell in row} if test_table else set()
    if not columns or len(set(columns[0])) == len(columns[0]):
        return 0
    for position, cells in enumerate(columns):
        known = listed_ids.intersection(cells) or matcher.match(cells[:_PROBED_IDS]).paths
        if known and len(set(cells)) == len(cells):
            return position
    return 0


def read_test_set(
    files: ImageFiles,
    conventions: TrainingConventions,
    *,
    sample: Table | None,
    test_table: Table | None,
    training_paths: Collection[str] = (),
    listed_names: Mapping[str, str] | None = None,
) -> CompetitionTestSet:
    """Find the test ids and their images.

    The ids are those of the sample submission, else those of the test table, else the names of the files in the test
    folder, without masks of others there.

    Args:
        training_paths: files that the training table lists, which are no test images even in a test folder.
        listed_names: the image names of ids, in a table that names those of the training images; used for test ids
            without an image name of their own.

    Raises:
        DataError: a sample that cannot be used (see `trainer.data.readers.sample_submission.read_sample`), an id that
            occurs twice, or several test images none of which is found.
    """
    files, versions = of_tests(files)
    matcher = ImageMatcher(files, "test")
    notes: list[str] = []
    warnings: tuple[str, ...] = ()
    form: SubmissionFormat | None = None
    rows: tuple[str, ...]
    if sample is not None:
        header = sample_has_header(sample, matcher, test_table)
        form, warnings = read_sample(
            sample,
            has_header=header,
            id_column=_sample_id_header(sample, matcher, conventions.id_header) if header else conventions.id_header,
            label_column=conventions.label_header,
            class_names=conventions.class_names,
            separator=conventions.separator if conventions.several_labels else None,
        )
        ids = form.ids
        rows = tuple(sample.row_name(index) for index in range(len(sample.rows) - len(ids), len(sample.rows)))
    elif test_table is not None:
        ids, rows = _table_ids(test_table, matcher, conventions.id_header)
        notes.append(f"test ids come from {test_table.path.name}, because there is no sample submission")
    else:
        tests = [path for path in files.tests_to_predict() if path not in training_paths]
        masks = set(masks_among(tests))
        warnings = tuple(mask_warnings([path for path in tests if path in masks]))
        ids, rows = _file_ids(files, conventions.ids_have_extension, [path for path in tests if path not in masks])
        if ids:
            notes.append("test ids are the names of the test images, because there is no sample submission")
    if form is None and ids:
        form = default_format(
            id_header=conventions.id_header,
            label_header=conventions.label_header,
            ids=ids,
            class_columns=conventions.class_columns,
            class_names=conventions.class_names,
            separator=conventions.separator if conventions.several_labels else None,
        )
    lookup = sample if test_table is None and sample is not None and sample.width > 2 else test_table
    names: Mapping[str, str] = {}
    if lookup is not None:
        names = image_names(lookup, matcher, ids, conventions.id_header, conventions.image_header)
    names = names or listed_names_of(ids, listed_names or {}, matcher, training_paths)
    hidden = _without_tests(*(table.path for table in (sample, test_table) if table is not None))
    found, images, problems, matched = _find_images(ids, rows, files, names, hidden)
    notes += matched
    if sample is None and test_table is not None and found:
        where, known = test_table.path.name, {*images.paths, *training_paths}
        apart = tests_apart(files, known)
        if apart and known.isdisjoint(files.paths_below("test")):
            raise _among_training(where, images.paths, apart)
        warnings = (*warnings, *unlisted_test_images(where, apart))
    if sample is not None:
        known = {*images.paths, *training_paths}
        unlisted = [path for path in files.paths_below("test") if path not in known]
        warnings = (*warnings, *unlisted_test_images(sample.path.name, unlisted))
    return CompetitionTestSet(
        ids=found,
        images=images,
        submission=form,
        problems=problems,
        notes=tuple(notes),
        warnings=(*warnings, *versions),
    )


def _sample_id_header(sample: Table, matcher: ImageMatcher, id_header: str) -> str:
    """The header of the sample's id column: as in training, else of the column that names test images, or the first."""
    names = sample.rows[0]
    return id_header if id_header in names else names[_most_images(sample, matcher)]


def _find_images(
    ids: Sequence[str], rows: Sequence[str], files: ImageFiles, names: Mapping[str, str], hidden: str
) -> tuple[tuple[str, ...], FileImages, tuple[str, ...], tuple[str, ...]]:
    """The ids with an image, these images, one problem for each other id, and by which rules ids were matched.

    ``rows`` names the ids' table rows, and ``hidden`` says what to do without any test image.
    """
    matcher = ImageMatcher(files, "test")
    match = matcher.match(names.get(identifier, identifier) for identifier in ids)
    found: list[tuple[str, str, str]] = []
    problems: list[str] = []
    for identifier, row in zip(ids, rows, strict=True):
        name = names.get(identifier, identifier)
        if name in match.paths:
            found.append((identifier, match.paths[name], row))
        else:
            explained = len(problems) < SHOWN_IDS
            error = match.errors[name]
            problems.append(f"{row}: {matcher.explained(name, error) if explained else error}")
    if len(problems) == len(ids) > 1:
        where = rows[0].split(" row ")[0]
        folders = {name for path in files.paths for name in PurePosixPath(path).parts[:-1]}
        if ids[0].strip() in folders:
            raise one_for_several(where, "folder of images", ids[0])
        if any(isinstance(error, ImageAmbiguousError) for error in match.errors.values()):
            raise DataError(problems, files.missing_hint())
        begun = _begun_names(ids[0], files)
        if len(begun) > 1:
            raise one_for_several(where, "group of images", ids[0], f"{len(begun)} images: {listed(begun, 3)}")
        in_training = ImageMatcher(files, "train").match(names.get(identifier, identifier) for identifier in ids).paths
        if len(in_training) == len(ids):
            raise _among_training(where, list(in_training.values()), tests_apart(files, in_training.values()))
        raise DataError(
            f"{where} lists {len(ids)} test images, but none of them is in the folder (the first: "
            f"{ids[0]!r}); put them into test/ or test_images/",
            "\n".join(filter(None, (hidden, files.missing_hint()))),
        )
    if len(problems) == len(ids) == 1:
        raise DataError(problems, hidden)
    images = FileImages(
        root=files.root, paths=tuple(path for _, path, _ in found), named_by=tuple(row for _, _, row in found)
    )
    by_path: dict[str, str] = {}
    for identifier, path, row in found:
        if by_path.setdefault(path, identifier) != identifier:
            problems.append(f"{row}: {path} is the image of the id {by_path[path]!r} already")
    return tuple(identifier for identifier, _, _ in found), images, tuple(problems), match.notes


def _among_training(where: str, tests: Sequence[str], apart: Sequence[str]) -> DataError:
    """The error for a table all of whose test images lie among the training images.

    Args:
        where: name of the table.
        tests: the test images.
        apart: other images in folders of test images.
    """
    problem = (
        f"{where} lists {len(tests)} test images, and each of them lies among the training images (the first: "
        f"{printable(tests[0])})"
    )
    if not apart:
        return DataError(
            problem,
            f"To train on them as well, move {where} out of the data folder; to predict them, move these images into "
            "test/",
        )
    folder = printable(PurePosixPath(apart[0]).parts[0])
    return DataError(
        f"{problem}, while {folder}/ holds {counted(len(apart), 'other image')}, such as {printable(apart[0])}",
        f"To predict the images in {folder}/, remove the rows of test images from {where}; to predict those of "
        f"{where}, move {folder}/ out of the data folder",
    )


def _without_tests(*tables: Path) -> str:
    """What to do if the test images are hidden, as in competitions of code."""
    if not tables:
        return ""
    names = listed(printable(path.name) for path in tables)
    return f"If the test images are hidden, move {names} out of the data folder: the search needs no test images"


def _begun_names(identifier: str, files: ImageFiles) -> list[str]:
    """Names of the files that may be test images and begin with an id and a mark: ``p1_0.png`` for p1."""
    begins = re.compile(re.escape(identifier.strip()) + r"[\W_].*")
    names = [PurePosixPath(path) for path in files.of_split(list(files.paths), "test")]
    return [path.name for path in names if begins.fullmatch(path.stem)]


def _table_ids(table: Table, matcher: ImageMatcher, id_header: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the test table, and the name of each row in messages."""
    header = has_header(table, matcher)
    names = column_names(table, header)
    column = names.index(id_header) if id_header in names else _most_images(table, matcher)
    start = 1 if header else 0
    ids = tuple(row[column] for row in table.rows[start:])
    if len(set(ids)) != len(ids):
        twice = next(identifier for index, identifier in enumerate(ids) if identifier in ids[:index])
        raise DataError(
            f"{table.path.name}: the id {twice!r} is given twice",
            f"If {table.path.name} labels the training images, add --table {table.path.name} (data.table)",
        )
    return ids, tuple(table.row_name(index) for index in range(start, len(table.rows)))


def _file_ids(files: ImageFiles, keep_extension: bool, tests: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids and paths of the test images. An id is the path below the test folder.

    Raises:
        DataError: a name cannot be an id, or two are equal.
    """
    ids: list[str] = []
    rows: list[str] = []
    for path in tests:
        inner = files.below_split(path, "test")
        assert inner is not None, "test images lie in folders of test images"
        ids.append(inner if keep_extension else str(PurePosixPath(inner).with_suffix("")))
        rows.append(path)
    bad = [(path, problem) for path in rows if (problem := name_problem(path))]
    if bad:
        raise DataError(f"{printable(path)}: the file name {problem}" for path, problem in bad)
    if len(set(ids)) != len(ids):
        raise DataError(
            "two test images have the same name; add a sample submission or a test table that tells them apart"
        )
    return tuple(ids), tuple(rows)


def _most_images(table: Table, matcher: ImageMatcher) -> int:
    """The column that names the most images; 0 if none does."""
    columns = list(zip(*table.rows, strict=True))
    return max(range(table.width), key=lambda column: len(set(matcher.match(columns[column]).paths.values())))
