"""Read training images, labels and test images from arrays: ProbSpace's ``.npz`` files, MedMNIST's, or ``.npy``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.common.errors import DataError, counted, listed
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import ArrayImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.columns.several_labels import JOINT, encode_lists
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels
from trainer.data.readers.npz.array_columns import ArrayColumns, read_columns
from trainer.data.readers.npz.find_arrays import Content, NamedArray, find_arrays
from trainer.data.readers.sample_submission import read_sample
from trainer.data.readers.tables.find_tables import find_tables
from trainer.formats.delimited import read_table
from trainer.formats.labels import encode, is_integer, text_problem
from trainer.formats.part_words import Part
from trainer.formats.submission import SubmissionFormat, default_format
from trainer.inference.arrays import ArrayError, load_array, load_images


def read(folder: Path, options: DataOptions) -> ReadResult | None:
    """Load the arrays; None without any of training images.

    Training ids are 0 .. n-1. Test ids are those of the sample submission, else 0 .. m-1.

    Raises:
        DataError: two arrays have the same role, an array cannot be read (pickled objects, cut off, too large), or the
            numbers of images, labels and ids differ.
    """
    arrays = find_arrays(folder)
    if not arrays:
        return None
    given = [n for n in ("table", "id_column", "label_column") if getattr(options, n) is not None]
    if given:
        raise DataError(
            f"{folder} holds arrays, which have no such columns: leave out {', '.join(f'data.{n}' for n in given)}"
        )
    of_labels = _one(arrays, "train", "labels")
    of_images = _one(arrays, "train", "images")
    if of_images is None or of_labels is None:
        absent = (
            "training labels (NAME-train-labels.npz, or the key train_labels)"
            if of_images
            else "training images (NAME-train-imgs.npz, or the key train_images)"
        )
        raise DataError(f"there is no array of {absent}; found {listed(array.name for array in arrays)}")
    of_tests = _one(arrays, "test", "images")
    unused = [array for array in arrays if array not in (of_labels, of_images, of_tests)]
    train = _images(of_images)
    labels, problems = _labels(of_labels)
    if len(labels) != len(train) and not problems:
        raise DataError(f"{of_labels.name} has {len(labels)} labels, {of_images.name} has {len(train)} images")
    if problems:
        raise DataError(problems)
    columns = read_columns(unused, labels, options.group_column, has_tests=of_tests is not None)
    unused = [array for array in unused if array not in columns.used]
    kept, tests = _divided(columns, len(train))
    if tests and of_tests:
        raise DataError(
            f"{listed(array.name for array in columns.used)} says that {counted(len(tests), 'image')} of "
            f"{of_images.name} are test images, and {of_tests.name} holds test images, too: keep one of the two"
        )
    test, all_labels = _images(of_tests) if of_tests else train.subset(tests), set(labels)
    train, labels = train.subset(kept), [labels[row] for row in kept]
    several = any(JOINT in label or not label for label in labels)
    class_names, y = encode_lists(labels) if several else encode(labels)
    ids = [str(row) for row in tests] or [str(row) for row in range(len(test))]
    submission, warnings = _submission(folder, class_names, ids, options.encoding, several=several)
    if tests and submission and sorted(submission.ids) == sorted(ids):  # it may have them in another order
        place = {name: row for row, name in enumerate(ids)}
        test = test.subset([place[name] for name in submission.ids])
    untrained = [] if several else sorted(all_labels - set(labels))
    image_set = ImageSet(
        root=folder,
        reader="npz",
        class_names=class_names,
        train_ids=tuple(map(str, kept)),
        y=y,
        train_images=train,
        groups=None if columns.groups is None else tuple(columns.groups[row] for row in kept),
        test_ids=submission.ids if submission else (),
        test_images=test,
        submission=submission,
        label_source=of_labels.name,
        notes=(*columns.notes, *(f"not used: {array.name}" for array in unused if array.part != "val")),
        warnings=(
            *warnings,
            *columns.warnings,
            *([f"not trained: {listed(untrained, 4)}, classes without a training image"] if untrained else ()),
            *(
                f"not read: {array.name}, because folds are cut from {of_images.name}"
                for array in unused
                if array.part == "val" and array.content == "images"
            ),
            *(() if several else doubtful_labels(of_labels.name, labels)),
        ),
    )
    return ReadResult(image_set=image_set)


def _divided(columns: ArrayColumns, count: int) -> tuple[list[int], list[int]]:
    """The rows of the training images, and of the test images among them."""
    parts = columns.parts or ["train"] * count
    return [row for row in range(count) if parts[row] == "train"], [row for row in range(count) if parts[row] == "test"]


def _images(named: NamedArray) -> ArrayImages:
    try:
        array = load_images(named.path, named.key)
    except ArrayError as error:
        raise DataError(f"{named.path.name} {error}") from error
    return ArrayImages(label=named.name, array=array, rows=tuple(range(len(array))))


def _labels(named: NamedArray) -> tuple[list[str], list[str]]:
    """Labels as text (whole numbers without a decimal point), and problems of single rows.

    A matrix of 0 and 1 has a column for each class; the labels of a row are joined by `JOINT`.
    """
    try:
        array = load_array(named.path, named.key)
    except ArrayError as error:
        raise DataError(f"{named.path.name} {error}") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "uifb" and np.isin(array, (0, 1)).all():
        return [JOINT.join(map(str, np.flatnonzero(row).tolist())) for row in array], []
    if array.ndim != 1:
        raise DataError(
            f"{named.name} has the shape {array.shape}; labels are one number or string per image, or 0 and 1 for "
            "each class"
        )
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.isfinite(array) & (array == np.rint(array))))
        if len(wrong):
            return [], [f"{named.name}[{row}]: the label {array[row]} is not a whole number" for row in wrong]
        array = array.astype(np.int64)
    if array.dtype.kind not in "uiU":
        raise DataError(f"{named.name} is of type {array.dtype}; labels are whole numbers or strings")
    labels = [str(label).strip() for label in array]
    problems = [
        f"{named.name}[{row}]: the label {problem}"
        for row, label in enumerate(labels)
        if (problem := text_problem(label))
    ]
    return labels, problems


def _submission(
    folder: Path, class_names: tuple[str, ...], ids: Sequence[str], encoding: str | None, *, several: bool
) -> tuple[SubmissionFormat | None, tuple[str, ...]]:
    separator, n_test = " " if several else None, len(ids)
    path = find_tables(folder, encoding).sample
    if path is None:
        if not n_test:
            return None, ()
        form = default_format(
            id_header="id", label_header="y", ids=ids, class_columns=(), class_names=class_names, separator=separator
        )
        return form, ()
    table = read_table(path, encoding=encoding)
    header = len(table.rows) > n_test or (not is_integer(table.rows[0][0]) and is_integer(table.rows[-1][0]))
    if len(table.rows) - header != n_test:
        raise DataError(f"{path.name} has {len(table.rows) - header} ids, but there are {n_test} test images")
    return read_sample(table, has_header=header, id_column="id", class_names=class_names, separator=separator)


def _one(arrays: Sequence[NamedArray], part: Part, content: Content) -> NamedArray | None:
    """The array of a part with images or labels, by its name; None without one."""
    fitting = [array for array in arrays if (array.part, array.content) == (part, content)]
    if len(fitting) > 1:
        names = listed(array.name for array in fitting)
        raise DataError(f"{names}: each could hold the {part} {content}; leave only one of them")
    return fitting[0] if fitting else None


READER = Reader(
    layout="DATA/NAME-train-imgs.npz, NAME-train-labels.npz, NAME-test-imgs.npz (key arr_0), or one file with the keys "
    "train_images, train_labels and test_images; a sample submission is optional",
    read=read,
)
