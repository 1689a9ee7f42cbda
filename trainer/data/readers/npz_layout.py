"""Read ProbSpace's layout: training images, labels and test images, each an ``.npz`` file with the key arr_0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.data.file_names import Split, is_visible, split_of
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import ArrayImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.columns.several_labels import JOINT, encode_lists
from trainer.data.readers.doubts.doubtful_labels import doubtful_labels
from trainer.data.readers.sample_submission import read_sample
from trainer.data.readers.tables.find_tables import find_tables
from trainer.formats.delimited import read_table
from trainer.formats.labels import encode, is_integer, text_problem
from trainer.formats.submission import SubmissionFormat, default_format
from trainer.inference import arrays
from trainer.inference.arrays import KEY

_LABEL_WORDS = ("label", "lbl", "target", "class")


def detect(folder: Path) -> bool:
    """Whether a visible ``.npz`` file has a name that mentions training."""
    return any(split_of(path.stem) == "train" for path in _npz_files(folder))


def read(folder: Path, options: DataOptions) -> ReadResult | None:
    """Load the arrays; None without any. Training ids are 0 .. n-1. Test ids are those of the sample submission, else
    0 .. m-1.

    Raises:
        DataError: two files have the same role, an array cannot be read (pickled objects, cut off, too large), or the
            numbers of images, labels and ids differ.
    """
    if not detect(folder):
        return None
    given = [n for n in ("table", "id_column", "label_column", "group_column") if getattr(options, n) is not None]
    if given:
        raise DataError(
            f"{folder} holds arrays, which have no columns: leave out {', '.join(f'data.{n}' for n in given)}"
        )
    files = _npz_files(folder)
    labels_file = _one(files, "train", labels=True)
    images_file = _one(files, "train", labels=False)
    if images_file is None or labels_file is None:
        absent = "training labels (NAME-train-labels.npz)" if images_file else "training images (NAME-train-imgs.npz)"
        raise DataError(f"there is no file of {absent}; found {listed(path.name for path in files)}")
    test_file = _one(files, "test", labels=False)
    unused = [path.name for path in files if path not in (labels_file, images_file, test_file)]
    train = _images(images_file)
    labels, problems = _labels(labels_file)
    if len(labels) != len(train) and not problems:
        raise DataError(f"{labels_file.name} has {len(labels)} labels, {images_file.name} has {len(train)} images")
    if problems:
        raise DataError(problems)
    several = any(JOINT in label or not label for label in labels)
    class_names, y = encode_lists(labels) if several else encode(labels)
    test = _images(test_file) if test_file else train.subset(())
    submission, warnings = _submission(folder, class_names, len(test), options.encoding, several=several)
    image_set = ImageSet(
        root=folder,
        reader="npz",
        class_names=class_names,
        train_ids=tuple(map(str, range(len(train)))),
        y=y,
        train_images=train,
        groups=None,
        test_ids=submission.ids if submission else (),
        test_images=test,
        submission=submission,
        label_source=labels_file.name,
        notes=tuple(f"not used: {name}" for name in unused),
        warnings=(*warnings, *(() if several else doubtful_labels(labels_file.name, labels))),
    )
    return ReadResult(image_set=image_set)


def load_array(path: Path) -> NDArray[Any]:
    """Load the array ``arr_0`` of an ``.npz`` file, see `trainer.inference.arrays.load_array`.

    Raises:
        DataError: the file cannot be used.
    """
    try:
        return arrays.load_array(path)
    except arrays.ArrayError as error:
        raise DataError(f"{path.name} {error}") from error


def _images(path: Path) -> ArrayImages:
    try:
        array = arrays.load_images(path)
    except arrays.ArrayError as error:
        raise DataError(f"{path.name} {error}") from error
    return ArrayImages(label=f"{path.name} {KEY}", array=array, rows=tuple(range(len(array))))


def _labels(path: Path) -> tuple[list[str], list[str]]:
    """Labels as text (whole numbers without a decimal point), and problems of single rows.

    A matrix of 0 and 1 has a column for each class; the labels of a row are joined by `JOINT`.
    """
    array = load_array(path)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "uifb" and np.isin(array, (0, 1)).all():
        return [JOINT.join(map(str, np.flatnonzero(row).tolist())) for row in array], []
    if array.ndim != 1:
        raise DataError(
            f"{path.name} {KEY} has the shape {array.shape}; labels are one number or string per image, or 0 and 1 for "
            "each class"
        )
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.isfinite(array) & (array == np.rint(array))))
        if len(wrong):
            return [], [f"{path.name} {KEY}[{row}]: the label {array[row]} is not a whole number" for row in wrong]
        array = array.astype(np.int64)
    if array.dtype.kind not in "uiU":
        raise DataError(f"{path.name} {KEY} is of type {array.dtype}; labels are whole numbers or strings")
    labels = [str(label).strip() for label in array]
    problems = [
        f"{path.name} {KEY}[{row}]: the label {problem}"
        for row, label in enumerate(labels)
        if (problem := text_problem(label))
    ]
    return labels, problems


def _submission(
    folder: Path, class_names: tuple[str, ...], n_test: int, encoding: str | None, *, several: bool
) -> tuple[SubmissionFormat | None, tuple[str, ...]]:
    separator = " " if several else None
    path = find_tables(folder, encoding).sample
    if path is None:
        if not n_test:
            return None, ()
        ids = tuple(map(str, range(n_test)))
        form = default_format(
            id_header="id", label_header="y", ids=ids, class_columns=(), class_names=class_names, separator=separator
        )
        return form, ()
    table = read_table(path, encoding=encoding)
    header = len(table.rows) > n_test or (not is_integer(table.rows[0][0]) and is_integer(table.rows[-1][0]))
    if len(table.rows) - header != n_test:
        raise DataError(f"{path.name} has {len(table.rows) - header} ids, but there are {n_test} test images")
    return read_sample(table, has_header=header, id_column="id", class_names=class_names, separator=separator)


def _npz_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.npz") if path.is_file() and is_visible(path.name))


def _one(files: list[Path], split: Split, *, labels: bool) -> Path | None:
    """The file of a split that holds labels or images, by its name; None without one."""
    fitting = [
        path
        for path in files
        if split_of(path.stem) == split and any(word in path.stem.lower() for word in _LABEL_WORDS) == labels
    ]
    if len(fitting) > 1:
        names = listed(path.name for path in fitting)
        raise DataError(
            f"{names}: each could hold the {split} {'labels' if labels else 'images'}; leave only one of them"
        )
    return fitting[0] if fitting else None


READER = Reader(
    layout="DATA/NAME-train-imgs.npz, NAME-train-labels.npz, NAME-test-imgs.npz (key arr_0); a sample submission is "
    "optional",
    read=read,
)
