"""Pseudo-labels in the database: written with their study, checked when read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from storage.database.blobs import pack
from storage.errors import DamagedRowError, StorageError
from storage.records.datasets import StoredDataset
from storage.records.study_rows import PseudoLabels
from storage.stores import Stores, open_stores

VALUES = np.array([[0, -1, 299], [1, 2, -1]], np.int64)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    opened = open_stores(f"sqlite:///{tmp_path / 'retable.db'}", create=True)
    opened.datasets.add(
        StoredDataset(
            fingerprint="f" * 64,
            class_names=tuple(f"c{number}" for number in range(300)),
            train_ids=("a", "b"),
            test_ids=("x", "y", "z"),
            y=np.array([0, 1]),
            groups=None,
            summary={},
        )
    )
    return opened


def create(stores: Stores, name: str, labels: PseudoLabels | None) -> int:
    return stores.studies.create(
        name, fingerprint="f" * 64, spec={}, spec_hash="0", file_spec={}, budget=1, pseudo_labels=labels
    ).id


def test_labels_come_back_as_they_were(stores: Stores) -> None:
    study = create(stores, "taught", PseudoLabels(values=VALUES, about={"seeds": [0, 1]}))
    found = stores.studies.pseudo_labels(study)
    assert found is not None and np.array_equal(found.values, VALUES) and found.values.dtype == np.int64
    assert found.about == {"seeds": [0, 1]}
    assert stores.studies.pseudo_labels(create(stores, "plain", None)) is None


@pytest.mark.parametrize("values", [VALUES[0], VALUES.astype(np.float64), VALUES - 1])
def test_other_arrays_are_no_labels(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    with pytest.raises(StorageError, match="whole numbers"):
        PseudoLabels(values=values, about={})


@pytest.mark.parametrize("blob", [b"x", pack(VALUES[:, :2]), pack(VALUES + 1), pack(VALUES - 1), pack(VALUES * 0.5)])
def test_damaged_labels_are_named(stores: Stores, blob: bytes) -> None:
    study = create(stores, "taught", PseudoLabels(values=VALUES, about={}))
    with stores.database.writing() as connection:
        connection.execute(text("UPDATE retable_study_pseudo_labels SET labels = :blob"), {"blob": blob})
    with pytest.raises(DamagedRowError, match="retable_study_pseudo_labels, row 1"):
        stores.studies.pseudo_labels(study)
