"""Read ProbSpace's layout: training images, labels and test images, each an ``.npz`` file with the key arr_0."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, listed
from trainer.data.file_names import Split, is_visible, split_of
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.images import ArrayImages
from trainer.data.readers.base import Reader, ReadResult
from trainer.data.readers.find_tables import find_tables
from trainer.data.readers.sample_submission import read_sample
from trainer.formats.delimited import read_table
from trainer.formats.labels import encode, is_integer, text_problem
from trainer.formats.submission import SubmissionFormat, default_format
from trainer.inference.images import MAX_PIXELS

KEY = "arr_0"
MAX_ARRAY_BYTES = 64 * 2**30  # bytes of one array; a larger one is a mistake or a decompression bomb
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
    class_names, y = encode(labels)
    test = _images(test_file) if test_file else train.subset(())
    submission, warnings = _submission(folder, class_names, len(test), options.encoding)
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
        notes=tuple(f"not used: {name}" for name in unused),
        warnings=warnings,
    )
    return ReadResult(image_set=image_set)


def load_array(path: Path) -> NDArray[Any]:
    """Load the array ``arr_0`` of an ``.npz`` file, of a plain type (numbers or strings).

    The header is read first. Type and size are checked before memory is allocated, and nothing is unpickled.

    Raises:
        DataError: not an .npz file, another key, pickled objects, an impossible size, or data that are cut off.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if f"{KEY}.npy" not in members:
                keys = [name.removesuffix(".npy") for name in members]
                raise DataError(f"{path.name} has no key {KEY!r}; its keys are {listed(keys) or 'none'}")
            member = members[f"{KEY}.npy"]
            with archive.open(member) as file:
                shape, dtype = _header(file)
                header_bytes = file.tell()
        _check_header(path, shape, dtype, stored=member.file_size - header_bytes)
        with np.load(path, allow_pickle=False) as arrays:
            array: NDArray[Any] = arrays[KEY]
    except DataError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is damaged, cut off or not an .npz file: {error}") from error
    return array


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type from the header of an ``.npy`` file."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype


def _check_header(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, stored: int) -> None:
    if dtype.hasobject:
        raise DataError(
            f"{path.name}: {KEY} holds pickled Python objects, which could run code and are never loaded; save it as a "
            "plain array (numbers or strings of one shape)"
        )
    size = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or size != stored:
        raise DataError(f"{path.name}: {KEY} claims the shape {shape} of {dtype}, {size:,} bytes, but holds {stored:,}")
    if size > MAX_ARRAY_BYTES:
        raise DataError(f"{path.name}: {KEY} would take {size:,} bytes; at most {MAX_ARRAY_BYTES:,} are loaded")


def _images(path: Path) -> ArrayImages:
    array = load_array(path)
    name = f"{path.name} {KEY}"
    if array.dtype.kind not in "uif":
        raise DataError(f"{name} is of type {array.dtype}; images are numbers 0..255")
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 1, 3)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)) or 0 in array.shape:
        raise DataError(
            f"{name} has the shape {array.shape}; images are (n, height, width), (n, height, width, 1 or 3) or "
            "(n, 1 or 3, height, width)"
        )
    if array.shape[1] * array.shape[2] > MAX_PIXELS:
        raise DataError(
            f"{name} has images of {array.shape[1]} x {array.shape[2]} pixels; at most {MAX_PIXELS:,} are read"
        )
    if array.dtype.kind == "f" and np.nanmin(array) >= 0 and 0 < np.nanmax(array) <= 1:
        raise DataError(
            f"{name} holds {np.nanmin(array):g} to {np.nanmax(array):g}, but pixels are 0..255: multiply it by 255"
        )
    return ArrayImages(label=name, array=array, rows=tuple(range(len(array))))


def _labels(path: Path) -> tuple[list[str], list[str]]:
    """Labels as text (whole numbers without a decimal point), and problems of single rows."""
    array = load_array(path)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{path.name} {KEY} has the shape {array.shape}; labels are one number or string per image")
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
    folder: Path, class_names: tuple[str, ...], n_test: int, encoding: str | None
) -> tuple[SubmissionFormat | None, tuple[str, ...]]:
    path = find_tables(folder, encoding).sample
    if path is None:
        if not n_test:
            return None, ()
        ids = tuple(map(str, range(n_test)))
        return default_format(id_header="id", label_header="y", ids=ids, class_columns=(), class_names=class_names), ()
    table = read_table(path, encoding=encoding)
    header = len(table.rows) > n_test or (not is_integer(table.rows[0][0]) and is_integer(table.rows[-1][0]))
    if len(table.rows) - header != n_test:
        raise DataError(f"{path.name} has {len(table.rows) - header} ids, but there are {n_test} test images")
    return read_sample(table, has_header=header, id_column="id", class_names=class_names)


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
