"""A data set as a value: training images with labels, test images, and the format of a submission."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.common.errors import DataError, counted
from trainer.data.images import ChosenImages, FileImages, Images, content_digests
from trainer.data.inspection import InspectedImages
from trainer.data.names.versions import VersionsOfImages, versions_among
from trainer.evaluation.several_labels import class_counts, has_several, label_names, label_text
from trainer.formats.label_tables import Correction
from trainer.formats.labels import SeveralLabels, SimilarLabels
from trainer.formats.submission import SubmissionFormat
from trainer.inference.pixel_values import Ranges

_FINGERPRINT_VERSION = b"retable image set 1"


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The user's settings for reading a data set. With None or False the reader decides."""

    id_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    """Column with a patient, a scene or the like: training rows with the same value stay in one fold."""
    table: str | None = None
    """The table of training labels: a path relative to the data folder."""
    layout: str | None = None
    """Name of the data layout, a key of `trainer.data.read.READERS`."""
    similar_labels: SimilarLabels = "ask"
    """What to do about labels that differ only in spelling (`trainer.formats.labels.unify_labels`)."""
    several_labels: SeveralLabels = "auto"
    """Whether an image may have several labels, or none; "auto": if the table says so by its columns or cells."""
    encoding: str | None = None
    """Encoding of tables that are not UTF-8, such as ``cp1252``."""
    skip_bad: bool = False
    """Leave out missing or unreadable training images instead of raising an error."""
    corrections: bool = True
    """Apply the corrections beside the data (`trainer.data.corrections`), if there are some."""

    def without_corrections(self) -> DataOptions:
        """The same settings, for the labels as the data give them."""
        return dataclasses.replace(self, corrections=False)


@dataclass(frozen=True, kw_only=True)
class AppliedCorrections:
    """What the corrections beside the data have changed."""

    file: str
    """Name of the table."""
    corrected: int
    """Training images with another label, or other labels, than the data give them."""
    dropped: int
    """Training images that are left out."""
    dropped_rows: int = 0
    """Rows that are left out although another row gives their image a label, too."""
    several_labels: bool = False
    """Whether an image may have several labels."""
    decisions: tuple[Correction, ...] = ()
    """Those that changed something, which `trainer.data.corrections.apply.apply_again` does again."""

    @property
    def changes(self) -> bool:
        """Whether any image has changed: a table may say of every image that its label is right."""
        return bool(self.corrected or self.dropped or self.dropped_rows)

    @property
    def sentence(self) -> str:
        """``12 labels corrected, 3 images dropped by the corrections in FILE``."""
        labels = f"{self.corrected} {'label' if self.corrected == 1 else 'labels'} corrected"
        if self.several_labels:
            labels = f"the labels of {self.corrected} {'image' if self.corrected == 1 else 'images'} corrected"
        images = f"{self.dropped} {'image' if self.dropped == 1 else 'images'} dropped"
        rows = f", {counted(self.dropped_rows, 'row')} of images with several rows dropped"
        return f"{labels}, {images}{rows * bool(self.dropped_rows)} by the corrections in {self.file}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """A data set of n training images, m test images (m may be 0) and C classes.

    root: the data folder.
    reader: name of the reader, a key of `trainer.data.read.READERS`.
    class_names: the C labels as the data spell them.
    train_ids: n ids; an id may occur twice, with different labels.
    y: int64 (n,) in 0..C-1, indices into ``class_names``; or int64 (n, C) of 0 and 1 if images have several labels
        (`trainer.evaluation.several_labels`).
    groups: n values of the group column; None without such a column. An empty value belongs to no group.
    test_ids: m ids in the order of the sample submission.
    submission: None only without test images. Without a sample submission it has the column names of the training
        table, and its ``source`` is None.
    label_source: what gives the labels, as a path relative to ``root`` and perhaps a column: ``train.csv: Smiling``.
    notes, warnings: sentences for the user.
    skipped: ids of the training images that ``skip_bad`` left out.
    value_ranges: ranges by which values with more than 8 bits are scaled; both sequences of images use them.
    inspected: hashes, thumbnails and sizes of the n training images, then of the m test images; None if the images
        were not verified.
    corrections: what the corrections beside the data have changed in ``y`` and ``train_ids``; None without any.
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
    label_source: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    value_ranges: Ranges = field(default_factory=dict)
    inspected: InspectedImages | None = None
    corrections: AppliedCorrections | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of class names, ids, labels, groups and the contents of all images.

        The folder's location does not change it. The first access reads every file; later ones use that result.

        Raises:
            DataError: image files that cannot be read. Every one is named.
        """
        digest = hashlib.sha256(_FINGERPRINT_VERSION)
        labels = ["\n".join(label_names(label, self.class_names)) for label in self.y]
        for texts in (self.class_names, self.train_ids, labels, self.groups or (), self.test_ids):
            digest.update(len(texts).to_bytes(8, "big"))
            for text in texts:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "big") + encoded)
        for content in (*self.training_contents, *content_digests(self.test_images)):
            digest.update(content)
        return digest.hexdigest()

    @cached_property
    def training_contents(self) -> tuple[bytes, ...]:
        """SHA-256 of the stored bytes of each training image. The first access reads their files.

        Raises:
            DataError: image files that cannot be read. Every one is named.
        """
        return tuple(content_digests(self.train_images))

    @cached_property
    def versions(self) -> VersionsOfImages:
        """Which training images are altered versions of each other by the names of their files, or by their ids."""
        images = self.train_images
        labels = [row.tobytes() for row in self.y]
        return versions_among(images.paths if isinstance(images, FileImages) else self.train_ids, labels)

    def class_counts(self) -> NDArray[np.int64]:
        """Training images per class: int64 (C,)."""
        return class_counts(self.y, len(self.class_names))

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none."""
        return has_several(self.y)

    def label_of(self, row: int) -> str:
        """The label of a training image, or its labels, as a text for people."""
        return label_text(self.y[row], self.class_names)

    def relabelled(self, classes: Mapping[str, str]) -> ImageSet:
        """The training images under coarser labels, without test images.

        An image with several labels has the coarser one of each of them. It is left out if all its labels are; an
        image without a label stays.

        Args:
            classes: new label of every class; an empty one leaves the class out.

        Raises:
            DataError: fewer than two classes are left, or all images have the same ones of several labels.
        """
        names = tuple(sorted({classes[name] for name in self.class_names} - {""}))
        if len(names) < 2:
            raise DataError(f"{len(names)} class{'es' * (len(names) != 1)} would be left of the images; 2 are needed")
        if self.several_labels:
            return self._relabelled_sets(classes, names)
        number_of = {name: names.index(classes[name]) for name in self.class_names if classes[name]}
        labels = np.array([number_of.get(self.class_names[label], -1) for label in self.y], np.int64)
        kept = self._training_rows(np.flatnonzero(labels >= 0).tolist())
        return dataclasses.replace(kept, class_names=names, y=labels[labels >= 0])

    def _relabelled_sets(self, classes: Mapping[str, str], names: tuple[str, ...]) -> ImageSet:
        """`relabelled` of images with several labels; ``names`` are the new labels."""
        becomes = np.array([[classes[old] == new for new in names] for old in self.class_names], np.int64)
        labels = (self.y @ becomes > 0).astype(np.int64)
        rows = np.flatnonzero(labels.any(axis=1) | ~self.y.any(axis=1))
        if not len(rows) or (labels[rows] == labels[rows[0]]).all():
            raise DataError(
                "all images would have the same coarser labels, so that there is nothing to learn: join fewer labels"
            )
        return dataclasses.replace(self._training_rows(rows.tolist()), class_names=names, y=labels[rows])

    def without_test_images(self) -> ImageSet:
        """The training images alone."""
        return self._training_rows(range(len(self.train_ids))) if self.test_ids else self

    def by_index(self, *, with_test: bool, most: int, repeats: int) -> ImageSet:
        """The images without their labels: each is a class of its own, whose label is its index.

        Some of the images follow once more, under the same labels, so that a training can hold them out and see how
        many it recognises.

        Args:
            with_test: include the test images.
            most: of more images than this, a sample is taken, evenly spaced.
            repeats: number of images that follow once more, evenly spaced, at most all.
        """
        every = ChosenImages.joined(self.train_images, *([self.test_images] if with_test else []))
        rows = np.linspace(0, len(every) - 1, num=min(most, len(every))).astype(np.int64)
        again = np.linspace(0, len(rows) - 1, num=min(repeats, len(rows))).astype(np.int64)
        chosen = [*rows.tolist(), *rows[again].tolist()]
        return dataclasses.replace(
            self,
            class_names=tuple(f"image {row}" for row in rows),
            train_ids=(*map(str, rows), *(f"{row} again" for row in rows[again])),
            y=np.concatenate([np.arange(len(rows)), again]).astype(np.int64),
            train_images=every.subset(chosen),
            groups=None,
            test_ids=(),
            test_images=self.test_images.subset([]),
            submission=None,
            # The rows of the test images follow those of the training images there as well.
            inspected=None if self.inspected is None else self.inspected.subset(np.array(chosen, np.int64)),
        )

    def _training_rows(self, rows: Sequence[int]) -> ImageSet:
        """The training images in ``rows``, without test images. Their labels stay."""
        return dataclasses.replace(
            self,
            train_ids=tuple(self.train_ids[i] for i in rows),
            y=self.y[list(rows)],
            train_images=self.train_images.subset(list(rows)),
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
            test_ids=(),
            test_images=self.test_images.subset([]),
            submission=None,
            inspected=None if self.inspected is None else self.inspected.subset(np.array(rows, np.int64)),
        )

    def without(self, bad: Iterable[int], also_lost: Sequence[str], reasons: Sequence[str]) -> ImageSet:
        """The set without the training images at the indices ``bad``.

        Args:
            bad: indices into ``train_ids``.
            also_lost: further ids for ``skipped``: the data list them, but the set does not hold them.
            reasons: sentences that say why; they become warnings.

        Raises:
            DataError: a class would lose its last image.
        """
        dropped = set(bad)
        keep = [i for i in range(len(self.train_ids)) if i not in dropped]
        remaining = class_counts(self.y[keep], len(self.class_names))
        if not remaining.all():
            empty = [self.class_names[c] for c in np.flatnonzero(remaining == 0)]
            raise DataError(
                f"the label {name!r} has no readable image left: all its images are missing or damaged"
                for name in empty
            )
        left_out = [*also_lost, *(self.train_ids[i] for i in sorted(dropped))]
        return dataclasses.replace(
            self.subset(keep),
            skipped=tuple(left_out),
            warnings=(*self.warnings, *reasons),
        )

    def subset(self, rows: Sequence[int]) -> ImageSet:
        """The set with the training images ``rows`` alone, and with all classes and test images."""
        inspected = self.inspected
        if inspected is not None:
            n, total = len(self.train_ids), len(inspected.hashes)
            inspected = inspected.subset(np.array([*rows, *range(n, total)], np.int64))
        return dataclasses.replace(
            self,
            train_ids=tuple(self.train_ids[i] for i in rows),
            y=self.y[list(rows)],
            train_images=self.train_images.subset(rows),
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
            inspected=inspected,
        )
