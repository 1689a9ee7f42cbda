"""The interface of a reader of one data layout, and what a reader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.data.image_set import DataOptions, ImageSet


@dataclass(frozen=True, kw_only=True)
class SkippableProblem:
    """A problem with one training image or row that `DataOptions.skip_bad` allows to leave out.

    lost_id: id of the training image that is left out; None for a repeated row, which costs no image.
    message: one sentence that names file and row.
    """

    lost_id: str | None
    message: str


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """A data set as its tables and folders describe it, before any image is decoded.

    image_set: the usable images. It does not hold the images of ``skippable``.
    problems: errors that forbid the use of the data, one sentence each.
    skippable: errors that forbid the use of the data unless `DataOptions.skip_bad` is set.
    advice: what to do about missing images, a sentence; empty without advice.
    """

    image_set: ImageSet
    problems: tuple[str, ...] = ()
    skippable: tuple[SkippableProblem, ...] = ()
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One data layout.

    layout: description of such a folder, shown in messages.
    read: reads tables and file names. Returns None for a folder of another layout. Raises DataError where several
        readings fit or no image set can be made; problems of single rows or files are collected in the `ReadResult`
        instead.
    """

    layout: str
    read: Callable[[Path, DataOptions], ReadResult | None]
