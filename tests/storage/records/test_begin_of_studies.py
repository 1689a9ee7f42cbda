"""What a study records of its begin: the folder of images and the label corrections."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import update

from storage.database.connection import Database
from storage.database.tables import Study
from storage.errors import DamagedRowError, UnknownStudyError
from storage.records.datasets import DatasetStore
from storage.records.studies import StudyStore
from storage.records.study_rows import LabelDecision, StoredStudy
from tests.storage.samples import stored_dataset

DECISIONS: list[LabelDecision] = [("a.jpg", "cat", "dog"), ("ÿ,\n", "dog|[]\\", None), ("", "", "")]


def create(
    database: Database, name: str, corrections: Sequence[LabelDecision] | None, folder: str | None
) -> StoredStudy:
    DatasetStore(database).add(stored_dataset())
    return StudyStore(database).create(
        name,
        fingerprint="f" * 64,
        spec={},
        spec_hash="0",
        file_spec={},
        budget=1,
        data_dir=folder,
        corrections=corrections,
    )


@pytest.mark.parametrize("corrections", [DECISIONS, [], None], ids=["some", "none", "not on record"])
def test_corrections_come_back_as_they_were(database: Database, corrections: list[LabelDecision] | None) -> None:
    study = create(database, "tune", corrections, None)
    found = StudyStore(database).corrections(study.id)
    assert found == (None if corrections is None else tuple(corrections))
    with pytest.raises(UnknownStudyError):
        StudyStore(database).corrections(study.id + 1)


def test_each_study_has_its_folder(database: Database) -> None:
    studies = StudyStore(database)
    first, second = (create(database, name, (), folder) for name, folder in (("one", "/images/犬"), ("two", None)))
    assert (first.data_dir, second.data_dir) == ("/images/犬", None)
    studies.set_data_dir(second.id, "/elsewhere")
    assert [study.data_dir for study in studies.all()] == ["/images/犬", "/elsewhere"]
    with pytest.raises(DamagedRowError, match="data_dir is 'images', not an absolute path"):
        studies.set_data_dir(second.id, "images")
    with pytest.raises(DamagedRowError, match="data_dir"):
        create(database, "three", (), "images")


@pytest.mark.parametrize(
    "damage", [{}, [["a", "b"]], [["a", None, "b"]], [["a", "b", 1]], ["abc"], [["a", "b\0", None]]]
)
def test_damaged_corrections_are_named(database: Database, damage: object) -> None:
    study = create(database, "tune", DECISIONS, None)
    with database.writing() as connection:
        connection.execute(update(Study).values(corrections=damage))
    with pytest.raises(DamagedRowError, match="retable_study, row 1, corrections is"):
        StudyStore(database).corrections(study.id)
