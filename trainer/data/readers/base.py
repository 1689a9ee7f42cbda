"""What a reader of one data layout is, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.data.image_set import DataOptions, ImageSet


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something wrong with one training image, which a person may choose to go on without.

    id: the training id that is lost; None where none is (a row was merely repeated).
    why: one sentence that names file and row.
    """

    id: str | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A data set as its tables and folders describe it; no image was decoded yet.

    ``problems`` forbid its use; so do ``defects``, unless a person chose to go on without those images, which the
    image set does not hold.
    """

    image_set: ImageSet
    problems: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One data layout.

    layout: what a folder of this kind looks like, for people.
    detect: whether a folder looks like it. Raises DataError where two files could be the same thing.
    read: describe the folder. Raises DataError where it cannot be described at all; what is wrong with single rows or
        files is collected in the Reading.
    """

    layout: str
    detect: Callable[[Path], bool]
    read: Callable[[Path, DataOptions], Reading]
