"""How many images and classes a data set has, to check stored arrays against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from storage.database.connection import Database
from storage.database.rows import check_row, damaged, texts, unpacked
from storage.database.tables import Dataset, Study
from storage.errors import StorageError

MARGIN = 1e-3  # by which rounding may take a probability out of 0..1
_RULES = {"class_names": texts(), "test_ids": texts()}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of training images, test images and classes."""

    train: int
    test: int
    classes: int


class SizeReader:
    """Sizes of the data sets of a database. Each is read once, because stored data sets never change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_study: dict[int, Sizes] = {}

    def of_study(self, study_id: int) -> Sizes:
        """Sizes of a study's data set.

        Raises:
            StorageError: there is no such study, or its data set is not stored.
        """
        if type(study_id) is not int:
            raise damaged(Study.__tablename__, study_id, "an id is not a whole number")
        if study_id not in self._by_study:
            with self._database.reading() as connection:
                row = connection.execute(
                    select(Dataset.class_names, Dataset.test_ids, Dataset.y)
                    .join(Study, Study.fingerprint == Dataset.fingerprint)
                    .where(Study.id == study_id)
                ).one_or_none()
            if row is None:
                raise StorageError(f"no data set of study {study_id} is stored in {self._database.name}")
            check_row(Dataset.__tablename__, row._mapping, _RULES)
            labels = unpacked(row.y, Dataset.__tablename__, f"of study {study_id}", "y")
            if labels.ndim not in (1, 2):  # 2: several labels of an image
                raise damaged(Dataset.__tablename__, f"of study {study_id}", f"y has shape {labels.shape}")
            self._by_study[study_id] = Sizes(train=len(labels), test=len(row.test_ids), classes=len(row.class_names))
        return self._by_study[study_id]


def checked_probabilities(
    blob: bytes, images: int | None, classes: int, table: str, key: object
) -> npt.NDArray[np.float32]:
    """Stored class probabilities, float32 ``(images, classes)``.

    Args:
        images: number of rows; None: any.
        table: for the message, like ``key``.

    Raises:
        DamagedRowError: damaged bytes, another shape, or values that are no probabilities.
    """
    proba = unpacked(blob, table, key, "the array of predictions")
    rows = len(proba) if images is None and proba.ndim else images
    if proba.shape != (rows, classes):
        raise damaged(table, key, f"the predictions have shape {proba.shape}, not ({rows}, {classes})")
    probabilities = proba.astype(np.float32, copy=False)
    if not ((probabilities >= -MARGIN) & (probabilities <= 1.0 + MARGIN)).all():  # nor NaN
        raise damaged(table, key, "the predictions are no probabilities from 0 to 1")
    return probabilities
