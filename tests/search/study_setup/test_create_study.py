"""Creating a study and resuming it: frozen folds and settings, refused changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.study_setup.create_study import StudyChanged, create_study, resume
from search.study_setup.data_folder import DataMismatch
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.study import Study, read_study
from storage.stores import Stores
from storage.values import StudyState
from tests.search.small_study import STUDY, study_plan, write_competition
from trainer.data.folds import write_folds_csv


def test_trial_zero_waits_with_the_default_recipe(stores: Stores, stored: Study) -> None:
    trials = stores.optuna_study(stored.name).get_trials()
    assert len(trials) == 1
    assert trials[0].user_attrs[EPOCHS_ATTRIBUTE] == 3
    assert trials[0].system_attrs["fixed_params"] == {
        "optimizer.name": "adamw",
        "optimizer.lr@adamw": 5e-3,
        "loss.label_smoothing": 0.0,
    }


def test_an_interrupted_creation_may_be_repeated(
    stores: Stores, study_file: Path, competition_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = study_plan(study_file, competition_folder)
    with monkeypatch.context() as patch:
        patch.setattr(stores.studies, "create", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create_study(stores, plan)
    assert stores.studies.find("colours") is None
    create_study(stores, plan)
    assert len(stores.optuna_study("colours").get_trials()) == 1


def test_an_unchanged_study_is_resumed(stores: Stores, study_file: Path, competition_folder: Path) -> None:
    plan = study_plan(study_file, competition_folder, "recipe.epochs=2")
    stored = create_study(stores, plan)
    again = resume(stores, stored, plan)
    assert replace(again.stored, running_since=None) == stored.stored
    assert again.spec == stored.spec


def test_budget_and_final_table_may_change_while_a_study_runs(
    stores: Stores, stored: Study, study_file: Path, competition_folder: Path
) -> None:
    study_file.write_text(STUDY.replace("trials = 3", "trials = 7") + "\n[final]\nseeds = 4\n")
    resumed = resume(stores, stored, study_plan(study_file, competition_folder, budget=None))
    assert resumed.budget == 7 and resumed.spec.final.seeds == 4
    again = resume(stores, resumed, study_plan(study_file, competition_folder, budget=9))
    assert again.budget == 9
    kept = resume(stores, again, study_plan(study_file, competition_folder, budget=None))
    assert kept.budget == 9, "the last given budget stays"


def test_a_stopped_study_runs_after_it_is_resumed(
    stores: Stores, stored: Study, study_file: Path, competition_folder: Path
) -> None:
    stores.studies.set_state(stored.id, StudyState.STOPPED, "five failures")
    resumed = resume(stores, read_study(stores, "colours"), study_plan(study_file, competition_folder))
    assert (resumed.state, resumed.state_reason) == (StudyState.RUNNING, "")


def test_changed_settings_are_refused_with_their_differences(
    stores: Stores, stored: Study, study_file: Path, competition_folder: Path
) -> None:
    study_file.write_text(STUDY.replace("epochs = 3", "epochs = 4").replace("high = 1e-2", "high = 2e-2"))
    with pytest.raises(StudyChanged) as refused:
        resume(stores, stored, study_plan(study_file, competition_folder))
    message = str(refused.value)
    assert "epochs: 3 -> 4" in message
    assert "optimizer.lr@adamw" in message and "0.01" in message and "0.02" in message
    assert "--name" in message
    with pytest.raises(StudyChanged, match="batch_size: 8 -> 16"):
        study_file.write_text(STUDY)
        resume(stores, stored, study_plan(study_file, competition_folder, "recipe.batch_size=16"))


def test_other_images_under_the_same_name_are_refused(
    stores: Stores, stored: Study, study_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(DataMismatch, match=r"begun on other images .* Give the original folder"):
        resume(stores, stored, study_plan(study_file, write_competition(other, seed=1)))


def test_imported_folds_are_used_and_never_change(
    stores: Stores, study_file: Path, competition_folder: Path, tmp_path: Path
) -> None:
    plan = study_plan(study_file, competition_folder)
    images = plan.competition.images
    table = tmp_path / "folds.csv"

    def write(folds: np.ndarray) -> None:
        labels = [images.class_names[y] for y in images.y]
        write_folds_csv(table, ids=images.train_ids, labels=labels, groups=np.arange(len(folds)), folds=folds)

    halves = np.arange(len(images.y)) // 15 % 2
    write(halves)
    stored = create_study(stores, replace(plan, folds=table))
    frozen = stores.datasets.folds(stored.fingerprint, n_folds=2, split=0, seed=0)
    np.testing.assert_array_equal(frozen, halves)

    write(1 - halves)
    with pytest.raises(StudyChanged, match="split_seed"):
        create_study(stores, replace(plan, folds=table, name="second"))
    write(np.arange(len(images.y)) % 3)
    with pytest.raises(StudyChanged, match=r"protocol\.folds=3"):
        replace(plan, folds=table, name="third")
