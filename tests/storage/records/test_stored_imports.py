"""Imported predictions: stored once, read, removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from storage.database.connection import Database
from storage.errors import StorageError
from storage.records.imports import ImportedPredictions, ImportStore, LabelTakenError
from storage.records.study_rows import StoredStudy
from tests.storage.samples import StandingClock


def predictions(seed: int = 0, *, test: bool = True) -> ImportedPredictions:
    draws = np.random.default_rng(seed)
    part = draws.dirichlet(np.ones(2), 2).astype(np.float32) if test else None
    return ImportedPredictions(oof=draws.dirichlet(np.ones(2), 4).astype(np.float32), test=part)


@pytest.fixture
def store(database: Database) -> ImportStore:
    return ImportStore(database)


def test_imports_come_back_as_they_were(store: ImportStore, study: StoredStudy, clock: StandingClock) -> None:
    given = predictions()
    record, added = store.add(study.id, "big", given, value=0.75, value_se=float("nan"), notes={"doubts": ["one"]})
    assert added and store.all(study.id) == [record]
    assert (record.label, record.value, record.value_se, record.created) == ("big", 0.75, None, clock.seconds)
    assert record.notes == {"doubts": ["one"]} and record.digest == given.digest
    back = store.predictions(record.id)
    assert back.test is not None and given.test is not None and back.digest == given.digest
    np.testing.assert_array_equal(back.oof, given.oof)
    np.testing.assert_array_equal(back.test, given.test)
    alone, _ = store.add(study.id, "no-test", predictions(1, test=False))
    assert store.predictions(alone.id).test is None


def test_the_same_predictions_are_stored_once_and_labels_are_unique_in_a_study(
    store: ImportStore, make_study: Callable[..., StoredStudy]
) -> None:
    study, other = make_study("tune"), make_study("other")
    first, _ = store.add(study.id, "big", predictions(), value=0.5)
    for label in ("big", "another"):
        assert store.add(study.id, label, predictions(), value=0.9) == (first, False)
    with pytest.raises(LabelTakenError, match="'big'"):
        store.add(study.id, "big", predictions(1))
    assert store.all(study.id) == [first]
    _, added = store.add(other.id, "big", predictions())
    assert added, "another study may have the same label and predictions"
    assert store.remove(study.id, "big") and not store.remove(study.id, "big")
    assert not store.all(study.id) and len(store.all(other.id)) == 1
    with pytest.raises(StorageError, match="not stored"):
        store.predictions(first.id)


def test_shapes_must_agree_and_digests_differ_for_different_predictions() -> None:
    given = predictions()
    with pytest.raises(StorageError, match="shape"):
        replace(given, oof=given.oof[0])
    with pytest.raises(StorageError, match="shape"):
        replace(given, test=given.oof[:, :1])
    assert given.test is not None
    moved = ImportedPredictions(oof=np.vstack([given.oof, given.test[:1]]), test=given.test[1:])
    assert len({given.digest, moved.digest, replace(given, test=None).digest}) == 3
