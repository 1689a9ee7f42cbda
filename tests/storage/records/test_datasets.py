"""Data sets and their folds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from storage.database.connection import Database
from storage.errors import StorageError
from storage.records.datasets import DatasetStore
from tests.storage.samples import stored_dataset

FINGERPRINT = "f" * 64


@pytest.fixture
def datasets(database: Database) -> DatasetStore:
    store = DatasetStore(database)
    store.add(stored_dataset())
    return store


def test_a_data_set_comes_back_as_it_was(datasets: DatasetStore) -> None:
    given, stored = stored_dataset(), datasets.get(FINGERPRINT)
    for field in dataclasses.fields(given):
        np.testing.assert_array_equal(getattr(stored, field.name), getattr(given, field.name))
    assert (stored.test_ids, stored.summary, stored.y.dtype) == (given.test_ids, given.summary, np.int64)


def test_the_first_stored_data_set_stays(datasets: DatasetStore) -> None:
    again = datasets.add(dataclasses.replace(stored_dataset(), groups=None, summary={}))
    assert again.groups is not None
    assert again.summary == stored_dataset().summary


def test_the_number_of_public_images_may_be_set_and_changed(datasets: DatasetStore) -> None:
    assert datasets.get(FINGERPRINT).public_images is None
    for number in (1, 2):
        datasets.set_public_images(FINGERPRINT, number)
        assert datasets.get(FINGERPRINT).public_images == number
    assert datasets.add(stored_dataset()).public_images == 2, "adding the same data set again keeps the number"
    for wrong in (0, -1, 3):
        with pytest.raises(StorageError, match="give 1 to 2, the number of test images"):
            datasets.set_public_images(FINGERPRINT, wrong)
    with pytest.raises(StorageError, match="no data set"):
        datasets.set_public_images("abc", 1)
    assert datasets.get(FINGERPRINT).public_images == 2


def test_labels_must_match_the_ids(datasets: DatasetStore) -> None:
    with pytest.raises(StorageError, match="4 training ids, but labels of shape"):
        datasets.add(dataclasses.replace(stored_dataset("e" * 64), y=np.zeros(3, np.int64)))


def test_the_error_names_an_unknown_fingerprint(datasets: DatasetStore) -> None:
    with pytest.raises(StorageError, match="abc"):
        datasets.get("abc")


def test_the_first_folds_of_a_key_stay(datasets: DatasetStore) -> None:
    first, second = np.array([0, 1, 2, 0]), np.array([2, 1, 0, 0])
    key = {"n_folds": 3, "split": 0, "seed": 2**62}
    assert datasets.folds(FINGERPRINT, **key) is None
    np.testing.assert_array_equal(datasets.freeze_folds(FINGERPRINT, first, **key), first)
    np.testing.assert_array_equal(datasets.freeze_folds(FINGERPRINT, second, **key), first)
    np.testing.assert_array_equal(datasets.freeze_folds(FINGERPRINT, second, **{**key, "split": 1}), second)
    stored = datasets.folds(FINGERPRINT, **key)
    assert stored is not None and stored.dtype == np.int64
    np.testing.assert_array_equal(stored, first)


@pytest.mark.parametrize(
    "folds", [np.array([0, 1, 2]), np.array([0, 1, 2, 3]), np.array([0, 1, 2, -1]), np.array([0.0, 1.0, 2.0, 0.0])]
)
def test_impossible_folds_are_refused(datasets: DatasetStore, folds: np.ndarray) -> None:
    with pytest.raises(StorageError, match="folds are"):
        datasets.freeze_folds(FINGERPRINT, folds, n_folds=3, split=0, seed=0)
    assert datasets.folds(FINGERPRINT, n_folds=3, split=0, seed=0) is None
