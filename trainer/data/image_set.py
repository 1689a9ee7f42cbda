"""A data set as a value: training images with labels, test images, and how a submission looks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.environment import usable_cores
from trainer.common.errors import DataError
from trainer.data.images import Images
from trainer.data.inspection import Looks
from trainer.formats.submission import SubmissionFormat
from trainer.inference.images import ImageError

_FINGERPRINT_VERSION = b"retable image set 1"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What a person may say about the data; None and False leave it to the reader."""

    id_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    """Training rows with the same value here (a patient, a scene) are kept in one fold."""
    skip_bad: bool = False
    """Leave out training images that are missing or unreadable, instead of refusing the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """A data set that was read: n training and m test images (m may be 0), C classes.

    ``y`` is int64 (n,) in 0..C-1 and indexes ``class_names``, the labels as they were written. ``test_ids`` are in
    the order of the sample submission. ``submission`` is None only where there are no test images; where there is no
    sample it follows the training table (its ``source`` is None then). ``looks`` covers the n training and then the
    m test images; None where the images were not verified.
    """

    root: Path
    reader: str
    class_names: tuple[str, ...]
    train_ids: tuple[str, ...]
    y: NDArray[np.int64]
    train_images: Images
    groups: tuple[str, ...] | None
    test_ids: tuple[str, ...]
    test_images: Images
    submission: SubmissionFormat | None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    """Ids of the training images that ``skip_bad`` left out."""
    looks: Looks | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over class names, ids, labels, groups and the contents of all images, wherever the folder lies.

        Computed once, by reading every file.

        Raises:
            DataError: image files that cannot be read, all named.
        """
        digest = hashlib.sha256(_FINGERPRINT_VERSION)
        labels = [self.class_names[label] for label in self.y]
        for texts in (self.class_names, self.train_ids, labels, self.groups or (), self.test_ids):
            digest.update(len(texts).to_bytes(8, "big"))
            for text in texts:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "big") + encoded)
        for images in (self.train_images, self.test_images):
            for content in _content_digests(images):
                digest.update(content)
        return digest.hexdigest()

    def class_counts(self) -> NDArray[np.int64]:
        """Training images per class: int64 (C,)."""
        return np.bincount(self.y, minlength=len(self.class_names)).astype(np.int64)

    def without(self, bad: Iterable[int], also_lost: Sequence[str], why: Sequence[str]) -> ImageSet:
        """The set without the training images at the indices ``bad``.

        ``also_lost`` are ids that were listed but are not among the training images; ``why`` are the sentences that
        say what was wrong with all of them, kept as warnings.

        Raises:
            DataError: a class has no image left.
        """
        dropped = set(bad)
        keep = [i for i in range(len(self.train_ids)) if i not in dropped]
        remaining = np.bincount(self.y[keep], minlength=len(self.class_names))
        if not remaining.all():
            empty = [self.class_names[c] for c in np.flatnonzero(remaining == 0)]
            raise DataError(
                f"the label {name!r} has no readable image left: every one is missing or damaged" for name in empty
            )
        looks = self.looks
        if looks is not None:
            n, total = len(self.train_ids), len(looks.hashes)
            looks = looks.subset(np.array([*keep, *range(n, total)], np.int64))
        left_out = [*also_lost, *(self.train_ids[i] for i in sorted(dropped))]
        return dataclasses.replace(
            self,
            train_ids=tuple(self.train_ids[i] for i in keep),
            y=self.y[keep],
            train_images=self.train_images.subset(keep),
            groups=None if self.groups is None else tuple(self.groups[i] for i in keep),
            looks=looks,
            skipped=tuple(left_out),
            warnings=(*self.warnings, *(f"left out: {reason}" for reason in why)),
        )


def _content_digests(images: Images) -> list[bytes]:
    def one(index: int) -> bytes | str:
        try:
            return hashlib.sha256(images.content(index)).digest()
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    with ThreadPoolExecutor(usable_cores()) as pool:
        results = list(pool.map(one, range(len(images))))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise DataError(problems)
    return [result for result in results if isinstance(result, bytes)]
