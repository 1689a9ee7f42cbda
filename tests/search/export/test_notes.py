"""Notes of an export: reading and writing the stored form, and refusing damaged notes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.export.notes import ExportNotes, ImportNotes, RecipeNotes
from storage.errors import StorageError

STORED: dict[str, Any] = {
    "trial": 4,
    "seeds": 2,
    "trainings": [[0, 0], [1, 3]],
    "full_data": False,
    "views": ["identity", "hflip"],
    "temperature": 0.8,
    "offsets": [0.5, 0.0, -0.5],
    "cuts": [],
}
"""Notes from before labels were stored."""

MEMBERS: list[dict[str, Any]] = [
    {"trial": 4, "backbone": "resnet18", "views": ["identity"], "trainings": [[0, 0]], "weight": 0.75},
    {"study": "other", "imported": "big", "digest": "ab" * 32, "weight": 0.25},
]


def test_notes_without_labels_survive_reading_and_writing() -> None:
    notes = ExportNotes.from_json(STORED)
    assert (notes.trial, notes.trainings, notes.offsets) == (4, ((0, 0), (1, 3)), (0.5, 0.0, -0.5))
    assert (notes.members, notes.study, notes.labels) == ((), None, None)
    assert notes.to_json() == STORED


def test_members_and_studies_survive_reading_and_writing() -> None:
    stored = {**STORED, "study": "third", "members": MEMBERS}
    notes = ExportNotes.from_json(stored)
    assert notes.members == (
        RecipeNotes(trial=4, backbone="resnet18", views=("identity",), trainings=((0, 0),), weight=0.75),
        ImportNotes(label="big", digest="ab" * 32, weight=0.25, study="other"),
    )
    assert notes.study == "third" and notes.to_json() == stored
    stacked = {**STORED, "members": [{**member, "weight": None} for member in MEMBERS]}
    assert ExportNotes.from_json(stacked).to_json() == stacked


@pytest.mark.parametrize("classes", [2, 300, 70_000])
def test_labels_are_stored_compressed(classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, 1000)
    labels[0] = classes - 1
    stored = json.loads(json.dumps(replace(ExportNotes.from_json(STORED), labels=labels).to_json()))
    assert stored.keys() == {*STORED, "labels"} and isinstance(stored["labels"], str)
    read = ExportNotes.from_json(stored).labels
    assert read is not None and read.dtype == np.int64
    np.testing.assert_array_equal(read, labels)
    assert len(stored["labels"]) < 6000


@pytest.mark.parametrize(
    "damage",
    [
        {"trial": None},
        {"trainings": [[0]]},
        {"trainings": 3},
        {"temperature": "warm"},
        {"views": 1},
        {"members": ["junk"]},
        {"members": [{"trial": 1}]},
        {"labels": "no base 64!"},
        {"labels": "AAAA"},
    ],
)
def test_damaged_notes_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(StorageError, match="damaged"):
        ExportNotes.from_json({**STORED, **damage})
    with pytest.raises(StorageError, match="KeyError"):
        ExportNotes.from_json({key: value for key, value in STORED.items() if key != "seeds"})
