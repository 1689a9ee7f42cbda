"""Arrays with one value of each training image, such as ``split.npy`` and ``patients.npy``: as columns of a table."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, counted, listed
from trainer.data.readers.columns.label_names import plain_name
from trainer.data.readers.columns.part_columns import choose_part_column
from trainer.data.readers.doubts.groups.possible_groups import possible_groups
from trainer.data.readers.npz.find_arrays import NamedArray
from trainer.formats.part_words import Part
from trainer.formats.parts import is_called_after_part, is_part_column, part_of, parts_of_flag
from trainer.inference.arrays import ArrayError, load_array

_MOST_BYTES = 2**26
"""Size from which an array holds features rather than one value of each image."""
_INDEX = re.compile(r"(.+?)_?(?:idxs?|index|indices|indexes|inds?|ids?|rows)")
_ADVICE = "Save an array split (split.npy, or a key of this name) with train, val or test for each of the {} images"


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayColumns:
    """What the further arrays say about the training images.

    parts: the part of each image; None: nothing divides them.
    groups: the group of each image; None without such an array.
    used: the arrays that give parts or groups.
    """

    parts: Sequence[Part] | None
    groups: Sequence[str] | None
    used: Sequence[NamedArray]
    notes: Sequence[str]
    warnings: Sequence[str]


def read_columns(
    arrays: Sequence[NamedArray], labels: Sequence[str], group_column: str | None, *, has_tests: bool
) -> ArrayColumns:
    """Read the arrays that neither hold images nor labels.

    Args:
        arrays: all that are not used otherwise.
        labels: of the training images.
        group_column: the name of the array of groups that the user gives.
        has_tests: whether there is an array of test images. Then numbers of test images may be those of its rows.

    Raises:
        DataError: an array seems to divide the images in a way that is not understood, or ``group_column`` is none.
    """
    count, found = len(labels), dict[str, NamedArray]()
    cells: list[list[str]] = []
    for array in arrays:
        if array.content is not None or (values := _values(array)) is None:
            continue
        if len(values) == count and _name(array) not in found:
            found[_name(array)] = array
            cells.append([_text(value) for value in values.tolist()])
        elif not has_tests:
            _refuse_numbers(array, values, count)
    names, rows = list(found), list(zip(*cells, strict=True))
    if group_column is not None and group_column not in found:
        known = f"; there are {listed(names)}" if names else ""
        raise DataError(
            f"no array with a value for each of the {count} training images is called {group_column!r} "
            f"(--group-column, data.group_column){known}"
        )
    group = None if group_column is None else names.index(group_column)
    notes: list[str] = []
    warnings: list[str] = []
    where = f"the arrays {listed(array.name for array in found.values())}"
    part, meaning = choose_part_column(
        where, names, rows, {group}, notes, warnings, otherwise="; if it says something else, move it out of the folder"
    )
    warnings += possible_groups(where, names, rows, {part, group}, labels)
    parts = _parts(rows, part, meaning)
    if parts is not None and part is not None:
        shares = ", ".join(f"{parts.count(name)} {name}" for name in ("train", "val", "test") if name in parts)
        notes.append(f"{found[names[part]].name} divides the images: {shares}")
        if "train" not in parts:
            raise DataError(f"{found[names[part]].name} holds train for no image, so there is nothing to train on")
        if "val" in parts:
            warnings.append(
                f"not read: {counted(parts.count('val'), 'validation image')} (folds are cut from the training images)"
            )
    return ArrayColumns(
        parts=parts,
        groups=None if group is None else [row[group] for row in rows],
        used=[found[names[column]] for column in (part, group) if column is not None],
        notes=notes,
        warnings=warnings,
    )


def _parts(rows: Sequence[Sequence[str]], column: int | None, meaning: Mapping[str, Part] | None) -> list[Part] | None:
    if column is None or meaning is None:
        return None
    return [meaning[row[column].strip().lower()] for row in rows]


def _values(array: NamedArray) -> NDArray[np.generic] | None:
    """The numbers or strings of an array of one dimension; None for another array.

    Raises:
        DataError: an array that is called as one that divides the images cannot be read.
    """
    try:
        if _stored_bytes(array) > _MOST_BYTES:
            return None
        values = load_array(array.path, array.key)
    except (ArrayError, OSError, KeyError, zipfile.BadZipFile) as error:
        if _may_divide(plain_name(_name(array))):
            raise DataError(f"{array.name} may divide the images, but {error}. {_ADVICE.format('training')}") from error
        return None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values if values.ndim == 1 and values.dtype.kind in "uifbU" else None


def _may_divide(name: str) -> bool:
    flagged = parts_of_flag(name) is not None or is_called_after_part(name)
    return is_part_column(name) or flagged or _INDEX.fullmatch(name) is not None


def _stored_bytes(array: NamedArray) -> int:
    if array.key is None:
        return array.path.stat().st_size
    with zipfile.ZipFile(array.path) as archive:
        return archive.getinfo(f"{array.key}.npy").file_size


def _name(array: NamedArray) -> str:
    return array.path.stem if array.key in (None, "arr_0") else str(array.key)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _refuse_numbers(array: NamedArray, values: NDArray[np.generic], count: int) -> None:
    """Refuse an array with the numbers of the images of one part, such as ``test_idx``.

    Raises:
        DataError: it is one by its name and its numbers.
    """
    found = _INDEX.fullmatch(plain_name(_name(array)))
    part = part_of(found[1]) if found else None
    if part is None or not 0 < len(values) <= count or values.dtype.kind not in "ui":
        return
    numbers = sorted({int(value) for value in values.tolist()})
    if len(numbers) == len(values) and numbers[0] >= 0 and numbers[-1] <= count:
        raise DataError(
            f"{array.name} seems to hold the numbers of {len(values)} {part} images, and is not read. "
            f"{_ADVICE.format(count)}, and move {array.name} out of the data folder"
        )
