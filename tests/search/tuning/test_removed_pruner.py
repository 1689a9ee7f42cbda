"""A stored study whose pruner was removed: it can be read, workers refuse it, and it continues with another pruner."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.runtime.signals import StopSignals
from search.study_setup.create_study import create_study, resume
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study, read_study
from search.tuning.pruners import make_pruner
from search.worker.loop import work
from search.worker.study_context import StudyContext
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from storage.values import WorkKind
from studies.spec import StudyError
from studies.stored_spec import spec_from_dict
from tests.search.small_study import make_context, study_plan


@pytest.fixture
def racing(stores: Stores, stored: Study) -> Study:
    """A study that was stored when the pruner ``paired_race`` existed."""
    row = stored.stored
    search = {**row.spec["search"], "pruner": "paired_race", "race_margin": 2.5}
    stores.studies.set_spec(row.id, spec={**row.spec, "search": search}, file_spec=row.file_spec)
    return read_study(stores, row.name)


def test_it_can_be_read_and_keeps_its_hash(stores: Stores, stored: Study, racing: Study) -> None:
    spec = racing.spec
    assert spec.search_settings.pruner == "paired_race"
    assert spec.spec_hash == racing.stored.spec_hash == stored.stored.spec_hash
    assert spec_from_dict(spec.to_dict()) == spec
    assert read_snapshot(stores, racing.name).waiting == 0


def test_a_setting_of_the_removed_pruner_alone_is_ignored(stored: Study) -> None:
    row = stored.stored.spec
    before = {**row, "search": {**row["search"], "race_margin": 2.5}}
    assert spec_from_dict(before) == stored.spec


def test_a_worker_refuses_it_and_names_the_valid_pruners(
    stores: Stores, racing: Study, competition_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        StudyError, match=r"'paired_race', which was removed.* as one of successive_halving, promotion, none"
    ):
        make_context(stores, racing, competition_folder, tmp_path)


@pytest.mark.slow
def test_a_worker_of_all_studies_skips_it(
    stores: Stores,
    racing: Study,
    study_file: Path,
    competition_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = create_study(stores, study_plan(study_file, competition_folder, name="other", budget=1))
    made: list[StudyContext] = []

    def context_of(row: StoredStudy) -> StudyContext:
        study = Study.of(row)
        if study.id == racing.id:
            make_pruner(study.spec.search_settings)
        if not made:
            made.append(make_context(stores, study, competition_folder, tmp_path / "home"))
        return made[0]

    home = make_context(stores, other, competition_folder, tmp_path / "home").home
    work(stores, context_of, StopSignals(), home=home)
    assert stores.trials.count(other.id, WorkKind.SEARCH) == 1 and stores.trials.count(racing.id, WorkKind.SEARCH) == 0
    assert "study colours is left to other workers: the study names the pruner 'paired_race'" in caplog.text


def test_it_continues_with_another_pruner(
    stores: Stores, racing: Study, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    again = resume(stores, racing, study_plan(study_file, competition_folder))
    assert make_context(stores, again, competition_folder, tmp_path).spec.search_settings.pruner == "none"
