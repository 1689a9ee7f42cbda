"""The image weights of a study are stored at its creation and never change."""

from __future__ import annotations

import numpy as np
import pytest

from storage.database.connection import Database
from storage.errors import StorageError, StudyExistsError
from storage.records.datasets import DatasetStore
from storage.records.studies import StudyStore
from storage.records.study_rows import ImageWeights, StoredStudy
from tests.storage.samples import stored_dataset

WEIGHTS = np.array([0.2, 1.1, 1 / 3, 2.5])


def create(database: Database, name: str, weights: ImageWeights | None) -> StoredStudy:
    DatasetStore(database).add(stored_dataset())
    return StudyStore(database).create(
        name, fingerprint="f" * 64, spec={}, spec_hash="", file_spec={}, budget=1, weights=weights
    )


def test_weights_come_back_bit_for_bit_and_belong_to_one_study(database: Database) -> None:
    store = StudyStore(database)
    weighted = create(database, "weighted", ImageWeights(values=WEIGHTS, about={"auc": 0.75}))
    plain = create(database, "plain", None)
    found = store.weights(weighted.id)
    assert found is not None and found.about == {"auc": 0.75}
    assert found.values.dtype == np.float64 and found.values.tobytes() == WEIGHTS.tobytes()
    assert store.weights(plain.id) is None and store.weights(77) is None


def test_a_second_creation_changes_nothing(database: Database) -> None:
    first = create(database, "one", ImageWeights(values=WEIGHTS, about={}))
    with pytest.raises(StudyExistsError):
        create(database, "one", ImageWeights(values=2.0 * WEIGHTS, about={}))
    found = StudyStore(database).weights(first.id)
    assert found is not None and found.values.tobytes() == WEIGHTS.tobytes()


@pytest.mark.parametrize("values", [np.zeros(4), np.array([1.0, np.nan]), np.ones((2, 2)), np.ones(0)])
def test_invalid_weights_are_refused(values: np.ndarray) -> None:
    with pytest.raises(StorageError, match="finite numbers above 0"):
        ImageWeights(values=values, about={})
