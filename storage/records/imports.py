"""Stored predictions of other programs, which may become part of a study's final model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, delete, select

from storage.database import rows
from storage.database.blobs import pack
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import Import
from storage.errors import StorageError
from storage.records.sizes import SizeReader, checked_probabilities
from storage.values import finite_or_none


class LabelTakenError(StorageError):
    """The study has other predictions under that label."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedPredictions:
    """Class probabilities of a study's ``n`` training and ``m`` test images for ``C`` classes.

    Raises:
        StorageError: an array is not two-dimensional, or the numbers of classes differ.
    """

    oof: npt.NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``, in the order of the data set's training ids."""
    test: npt.NDArray[np.float32] | None
    """``(m, C)``, in the order of the data set's test ids; None where it has no test images."""

    def __post_init__(self) -> None:
        shapes = [part.shape for part in (self.oof, self.test) if part is not None]
        if any(len(shape) != 2 for shape in shapes) or len({shape[-1] for shape in shapes}) != 1:
            raise StorageError(f"predictions have shape (images, classes), not {' and '.join(map(str, shapes))}")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the probabilities. It does not depend on the file that they came from."""
        parts = [part.astype("<f4").tobytes() for part in (self.oof, self.test) if part is not None]
        sizes = [len(part).to_bytes(8, "big") for part in parts]
        return hashlib.sha256(b"".join([*sizes, *parts])).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ImportRecord:
    """A stored import. `ImportStore.predictions` reads its probabilities separately."""

    id: int
    study_id: int
    label: str
    """Unique in the study."""
    digest: str
    """Unique in the study, see `ImportedPredictions.digest`."""
    value: float | None
    """The study's metric of the out-of-fold probabilities; None where it is not finite."""
    value_se: float | None
    """Standard error of ``value``; None where it is not finite."""
    notes: dict[str, Any]
    """Findings of the checks at the import; plain JSON."""
    created: float
    """Unix seconds on the database's clock."""


_RECORD_COLUMNS = tuple(getattr(Import, name) for name in ImportRecord.__dataclass_fields__)
_IMPORT_RULES = {
    **dict.fromkeys(("id", "study_id"), rows.integer(0)),
    "label": rows.name(),
    "digest": rows.text(64),
    "value": rows.optional(rows.number()),
    "value_se": rows.optional(rows.number(0.0)),
    "notes": rows.document(),
    "created": rows.moment(),
}


def _import(row: Row[Any]) -> ImportRecord:
    return ImportRecord(**check_row(Import.__tablename__, row._mapping, _IMPORT_RULES))


class ImportStore:
    """Imported predictions of all studies of one database. They may be added and removed, but never change.

    `add` and `remove` are not repeated during an outage, because a second call would answer that it added or removed
    nothing. The caller may call them again after a failure.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sizes = SizeReader(database)

    def add(
        self,
        study_id: int,
        label: str,
        predictions: ImportedPredictions,
        *,
        value: float | None = None,
        value_se: float | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> tuple[ImportRecord, bool]:
        """Store predictions, unless the study has the same probabilities already.

        Returns:
            The stored record, perhaps under another label, and whether this call added it.

        Raises:
            LabelTakenError: the study has other predictions under that label. Nothing was written.
        """
        digest = predictions.digest
        with self._database.writing() as connection:
            added = connection.execute(
                self._database.insert(Import)
                .values(
                    study_id=study_id,
                    label=label,
                    digest=digest,
                    oof=pack(predictions.oof.astype(np.float32)),
                    test=None if predictions.test is None else pack(predictions.test.astype(np.float32)),
                    value=finite_or_none(value),
                    value_se=finite_or_none(value_se),
                    notes=dict(notes or {}),
                    created=self._database.clock(),
                )
                .on_conflict_do_nothing()
                .returning(Import.id)
            ).one_or_none()
            stored = connection.execute(
                select(*_RECORD_COLUMNS).where(Import.study_id == study_id, Import.digest == digest)
            ).one_or_none()
        if stored is None:
            raise LabelTakenError(f"the study has other predictions under the label {label!r}")
        return _import(stored), added is not None

    @repeatable
    def all(self, study_id: int) -> list[ImportRecord]:
        """Imports of a study, oldest first."""
        with self._database.reading() as connection:
            found = connection.execute(select(*_RECORD_COLUMNS).where(Import.study_id == study_id).order_by(Import.id))
            return [_import(row) for row in found]

    @repeatable
    def predictions(self, import_id: int) -> ImportedPredictions:
        """The probabilities of one import.

        Raises:
            StorageError: no such import; it may have been removed.
        """
        with self._database.reading() as connection:
            query = select(Import.oof, Import.test, Import.study_id).where(Import.id == import_id)
            row = connection.execute(query).one_or_none()
        if row is None:
            raise StorageError(f"imported predictions {import_id} are not stored in {self._database.name} (any more)")
        sizes, table = self._sizes.of_study(row.study_id), Import.__tablename__
        return ImportedPredictions(
            oof=checked_probabilities(row.oof, sizes.train, sizes.classes, table, import_id),
            test=None
            if row.test is None
            else checked_probabilities(row.test, sizes.test, sizes.classes, table, import_id),
        )

    def remove(self, study_id: int, label: str) -> bool:
        """Remove the import with that label. Returns whether there was one."""
        with self._database.writing() as connection:
            removed = connection.execute(
                delete(Import).where(Import.study_id == study_id, Import.label == label).returning(Import.id)
            ).one_or_none()
            return removed is not None
