"""A stored study, read and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.study_state import study as module
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_folds
from storage.database.existing import NoStudy
from storage.errors import StorageError, UnknownStudyError
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, StudyState
from studies.errors import StudyError
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict


def test_it_is_the_row_and_its_specification(stores: Stores, stored: Study) -> None:
    row = stores.studies.get("colours")
    for study in (read_study(stores, "colours"), read_study(stores, None)):
        assert study == Study(stored=row, spec=spec_from_dict(row.spec)) == stored
    assert (stored.name, stored.budget, stored.state) == ("colours", 3, StudyState.RUNNING)
    assert (stored.metric, stored.begun) == ("accuracy", row.created)
    with pytest.raises(UnknownStudyError):
        read_study(stores, "shapes")


def test_another_study_of_probes_begins_with_probe(stores: Stores, stored: Study) -> None:
    folder = Path("my images")
    assert stored.beginning_another(folder) == "search start --study FILE --name NAME --data 'my images'"
    stores.studies.set_budget(stored.id, 0)
    assert read_study(stores, "colours").beginning_another(folder) == "search probe 'my images' --name NAME"


def test_there_may_be_none(stores: Stores) -> None:
    with pytest.raises(NoStudy):
        read_study(stores, None)


def test_a_specification_is_checked_once_and_again_when_it_changes(
    stores: Stores, stored: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []

    def counting(spec: object) -> StudySpec:
        checked.append(spec)
        return spec_from_dict(spec)

    module._checked.cache_clear()
    monkeypatch.setattr(module, "spec_from_dict", counting)
    stores.studies.set_deadline(stored.id, stores.database.now() + 60.0)
    for _ in range(3):
        assert read_snapshot(stores, "colours").study.spec == stored.spec
    assert len(checked) == 1
    row = stored.stored
    stores.studies.set_spec(row.id, spec={**row.spec, "title": "Other words"}, file_spec=row.file_spec)
    assert read_snapshot(stores, "colours").study.spec.title == "Other words"
    assert len(checked) == 2


def test_a_specification_that_is_not_valid_is_refused(stores: Stores, stored: Study) -> None:
    row = stored.stored
    stores.studies.set_spec(row.id, spec={**row.spec, "protocol": {"folds": 1}}, file_spec=row.file_spec)
    with pytest.raises(StudyError, match="folds"):
        read_study(stores, "colours")


def test_its_folds_are_those_that_were_frozen(stores: Stores, stored: Study) -> None:
    folds = read_folds(stores, stored, SEARCH_SPLIT)
    assert len(folds) == len(stores.datasets.get(stored.fingerprint).y)
    assert set(np.unique(folds)) == set(range(stored.protocol.folds))
    with pytest.raises(StorageError, match="does not hold split 7 of 2 folds of study colours"):
        read_folds(stores, stored, 7)
