"""Stored data sets and their folds, shared by all studies on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select, update

from storage.database import rows
from storage.database.blobs import pack
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row, damaged, unpacked
from storage.database.tables import Dataset, FoldSet, columns_of
from storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """Labels and ids of a data set, without its images. Treat the arrays as read-only."""

    fingerprint: str
    class_names: tuple[str, ...]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    y: npt.NDArray[np.int64]
    """Class index of each training image, ``(n,)``; or 0 and 1 for each of several labels, ``(n, C)``."""
    groups: npt.NDArray[np.int64] | None
    """Group of each image, training images first, then test images, ``(n + m,)``. Near-duplicates share a number."""
    summary: dict[str, Any]
    """Further facts for reports; plain JSON."""
    public_images: int | None = None
    """How many test images the competition's public scores are computed on; None: unknown."""


_DATASET_RULES = {
    "fingerprint": rows.text(64),
    **dict.fromkeys(("class_names", "train_ids", "test_ids"), rows.texts()),
    "summary": rows.document(),
    "public_images": rows.optional(rows.integer(1, rows.COUNT)),
}


class DatasetStore:
    """Data sets by fingerprint. Stored data never changes, except ``public_images``, which the user may set later.

    All methods are repeated during an outage (`storage.database.outages.repeatable`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeatable
    def add(self, dataset: StoredDataset) -> StoredDataset:
        """Store a data set, unless its fingerprint is stored already, and return the stored one.

        Raises:
            StorageError: the numbers of labels and training ids differ.
        """
        images = len(dataset.train_ids)
        if dataset.y.shape not in ((images,), (images, len(dataset.class_names))):
            raise StorageError(f"{len(dataset.train_ids)} training ids, but labels of shape {dataset.y.shape}")
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(Dataset)
                .values(
                    fingerprint=dataset.fingerprint,
                    class_names=list(dataset.class_names),
                    train_ids=list(dataset.train_ids),
                    test_ids=list(dataset.test_ids),
                    y=pack(dataset.y.astype(np.int64 if dataset.y.ndim == 1 else np.uint8)),
                    groups=None if dataset.groups is None else pack(dataset.groups.astype(np.int64)),
                    summary=dataset.summary,
                    public_images=dataset.public_images,
                    created=self._database.clock(),
                )
                .on_conflict_do_nothing(index_elements=["fingerprint"])
            )
        return self.get(dataset.fingerprint)

    @repeatable
    def get(self, fingerprint: str) -> StoredDataset:
        """The data set with this fingerprint.

        Raises:
            StorageError: it is not stored.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                select(*columns_of(Dataset)).where(Dataset.fingerprint == fingerprint)
            ).one_or_none()
        if row is None:
            raise StorageError(f"no data set has the fingerprint {fingerprint} in {self._database.name}")
        check_row(Dataset.__tablename__, row._mapping, _DATASET_RULES)
        dataset = StoredDataset(
            fingerprint=row.fingerprint,
            class_names=tuple(row.class_names),
            train_ids=tuple(row.train_ids),
            test_ids=tuple(row.test_ids),
            y=_integers(row.y, fingerprint),
            groups=None if row.groups is None else _integers(row.groups, fingerprint),
            summary=row.summary,
            public_images=row.public_images,
        )
        _check_arrays(dataset)
        return dataset

    @repeatable
    def set_public_images(self, fingerprint: str, public_images: int) -> None:
        """Set how many test images public scores are computed on.

        Raises:
            StorageError: the data set is not stored, or ``public_images`` is not 1 to its number of test images.
        """
        test_images = len(self.get(fingerprint).test_ids)
        if not 1 <= public_images <= test_images:
            raise StorageError(
                f"public scores cannot be computed on {public_images} images: give 1 to {test_images}, the number of "
                "test images"
            )
        with self._database.writing() as connection:
            connection.execute(
                update(Dataset).where(Dataset.fingerprint == fingerprint).values(public_images=public_images)
            )

    @repeatable
    def folds(self, fingerprint: str, *, n_folds: int, split: int, seed: int) -> npt.NDArray[np.int64] | None:
        """The fold of each training image, int64 ``(n,)`` in the order of ``train_ids``; None if none is stored."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(FoldSet.id, FoldSet.folds, Dataset.y)
                .join(Dataset, Dataset.fingerprint == FoldSet.fingerprint)
                .where(
                    FoldSet.fingerprint == fingerprint,
                    FoldSet.n_folds == n_folds,
                    FoldSet.split == split,
                    FoldSet.seed == seed,
                )
            ).one_or_none()
        if row is None:
            return None
        folds = unpacked(row.folds, FoldSet.__tablename__, row.id, "folds")
        images = len(np.atleast_1d(unpacked(row.y, Dataset.__tablename__, fingerprint, "y")))
        if folds.shape != (images,) or not _are_indices(folds, n_folds):
            raise damaged(FoldSet.__tablename__, row.id, f"folds are not {images} numbers from 0 to {n_folds - 1}")
        return folds.astype(np.int64, copy=False)

    @repeatable
    def freeze_folds(
        self, fingerprint: str, folds: npt.NDArray[np.int64], *, n_folds: int, split: int, seed: int
    ) -> npt.NDArray[np.int64]:
        """Store the folds of a (data set, number of folds, split, seed), unless there are some already.

        Folds never change once they are stored, so that the scores of all trials stay comparable.

        Returns:
            The stored folds: those of the first call, which may differ from ``folds``.

        Raises:
            StorageError: unknown data set, or not one fold of 0 to ``n_folds`` - 1 for each training image.
        """
        images = len(self.get(fingerprint).train_ids)
        if folds.shape != (images,) or folds.dtype.kind not in "iu":
            raise StorageError(f"folds are integers of shape ({images},), not {folds.dtype} of shape {folds.shape}")
        if images and not (folds.min() >= 0 and folds.max() < n_folds):
            raise StorageError(f"folds are numbered 0 to {n_folds - 1}, not {folds.min()} to {folds.max()}")
        key = {"fingerprint": fingerprint, "n_folds": n_folds, "split": split, "seed": seed}
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(FoldSet)
                .values(**key, folds=pack(folds.astype(np.int64)), created=self._database.clock())
                .on_conflict_do_nothing(index_elements=list(key))
            )
        stored = self.folds(fingerprint, n_folds=n_folds, split=split, seed=seed)
        assert stored is not None
        return stored


def _check_arrays(dataset: StoredDataset) -> None:
    """
    Raises:
        DamagedRowError: labels or groups do not fit the images and classes.
    """
    table, train, test = Dataset.__tablename__, len(dataset.train_ids), len(dataset.test_ids)
    classes = len(dataset.class_names)
    if dataset.y.ndim == 2:
        if dataset.y.shape != (train, classes) or not _are_indices(dataset.y, 2):
            raise damaged(table, dataset.fingerprint, f"y are not {train} x {classes} numbers 0 and 1")
    elif dataset.y.shape != (train,) or not _are_indices(dataset.y, classes):
        raise damaged(table, dataset.fingerprint, f"y are not {train} numbers from 0 to {classes - 1}")
    if dataset.groups is not None and dataset.groups.shape != (train + test,):
        raise damaged(table, dataset.fingerprint, f"groups are not {train + test} numbers")


def _integers(blob: bytes, fingerprint: str) -> npt.NDArray[np.int64]:
    array = unpacked(blob, Dataset.__tablename__, fingerprint, "y or groups")
    if array.dtype.kind not in "iu":
        raise damaged(Dataset.__tablename__, fingerprint, f"labels or groups are {array.dtype}, not whole numbers")
    return array.astype(np.int64, copy=False)


def _are_indices(array: npt.NDArray[Any], count: int) -> bool:
    """Whether all values are whole numbers of 0 to ``count`` - 1."""
    return array.dtype.kind in "iu" and (not array.size or bool((array >= 0).all() and (array < count).all()))
