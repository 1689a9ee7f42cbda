"""The weights folder that a study remembers, and the check that it holds the weights of all possible trials."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import timm
from huggingface_hub import constants
from safetensors.torch import save_file

import search.study_setup.weights_folder
from search.study_setup.create_study import create_study, resume
from search.study_setup.weights_folder import NoWeights, check_initial_weights, remembered_path, weights_folder
from search.study_state.study import Study
from storage.stores import Stores
from studies.load_study import load_study
from studies.spec import StudySpec
from tests.search.small_study import study_plan
from trainer.common.errors import BackboneError

STUDY = """
title = "Where to start"

[recipe]
backbone = "test_resnet"
{init}
image_size = 32
epochs = 1

[space]
{space}

[search]
trials = 3
"""


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "nothing"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def study(tmp_path: Path, space: str, init: str = "scratch") -> StudySpec:
    file = tmp_path / "starts.toml"
    file.write_text(STUDY.format(space=space, init=f'init = "{init}"' if init else ""))
    return load_study(file)


def put(folder: Path, name: str) -> None:
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), folder / f"{name}.safetensors")


LEARNING_RATE = '"optimizer.lr" = { low = 1e-4, high = 1e-2, log = true }'
INIT = 'init = ["pretrained", "scratch", "ssl-a", "ssl-b"]'
CONDITIONAL = """
"optimizer.name" = ["adamw", "sgd"]
init = { choices = ["scratch", "ssl-a"], when = { "optimizer.name" = "sgd" } }
"""


def test_values_of_init_are_those_that_a_trial_can_have(tmp_path: Path) -> None:
    assert study(tmp_path, LEARNING_RATE, "ssl-a").values_of("init") == ["ssl-a"]
    assert study(tmp_path, INIT).values_of("init") == ["pretrained", "scratch", "ssl-a", "ssl-b"]
    # Without the condition, a trial has the fixed value, or else the default.
    assert study(tmp_path, CONDITIONAL, "scratch").values_of("init") == ["scratch", "ssl-a"]
    assert study(tmp_path, CONDITIONAL, "").values_of("init") == ["scratch", "ssl-a", "pretrained"]


def test_all_missing_weights_are_named_together(tmp_path: Path, folder: Path) -> None:
    put(folder, "ssl-b")
    with pytest.raises(BackboneError) as refused:
        check_initial_weights(study(tmp_path, INIT), folder)
    for said in ("test_resnet: https://", "init = 'ssl-a'", str(folder), "ssl-a.safetensors", "did you mean ssl-b?"):
        assert said in str(refused.value)
    assert "init = 'ssl-b'" not in str(refused.value)
    put(folder, "ssl-a")
    put(folder, "test_resnet")
    check_initial_weights(study(tmp_path, INIT), folder)


def test_random_weights_are_proposed_where_they_help(tmp_path: Path, folder: Path) -> None:
    spec = study(tmp_path, LEARNING_RATE, "pretrained")

    def message(**how: bool) -> str:
        with pytest.raises(BackboneError, match="not at hand") as refused:
            check_initial_weights(spec, folder, **how)
        return str(refused.value)

    advice = "--set recipe.init=scratch"
    assert advice in message()
    assert advice not in message(probes_only=True)
    assert advice not in message(scratch=False)


def test_a_checkpoint_needs_a_weights_folder(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no such folder was given: --weights FOLDER"):
        check_initial_weights(study(tmp_path, LEARNING_RATE, "ssl-a"), None)
    check_initial_weights(study(tmp_path, LEARNING_RATE, "scratch"), None)


def test_the_fixed_value_is_checked_for_trials_that_do_not_meet_a_condition(tmp_path: Path, folder: Path) -> None:
    put(folder, "ssl-a")
    with pytest.raises(BackboneError, match="pre-trained weights are not at hand"):
        check_initial_weights(study(tmp_path, CONDITIONAL, ""), folder)
    check_initial_weights(study(tmp_path, CONDITIONAL, "scratch"), folder)


class TestRememberedFolder:
    """What a study that was begun with ``--weights`` uses on this machine later."""

    def test_an_explicit_folder_wins_and_a_study_without_one_has_none(self, stored: Study, tmp_path: Path) -> None:
        given = tmp_path / "given"
        remembering = replace(stored.stored, weights_dir=str(tmp_path))
        spec = study(tmp_path, LEARNING_RATE, "ssl-a")
        assert weights_folder(remembering, spec, None) == tmp_path
        assert weights_folder(remembering, spec, given) == given
        assert weights_folder(stored.stored, spec, given) == given
        assert weights_folder(None, spec, None) is None and weights_folder(stored.stored, spec, None) is None

    @pytest.mark.parametrize("init", ["pretrained", "ssl-a"])
    @pytest.mark.parametrize("folder", ["/nowhere/weights", "/" + "x/" * 2000, "/" + "x" * 4000, "/dev/null"])
    def test_a_folder_that_is_missing_here_is_named_with_the_option(
        self, stored: Study, tmp_path: Path, init: str, folder: str
    ) -> None:
        elsewhere = replace(stored.stored, weights_dir=folder)
        with pytest.raises(NoWeights) as refused:
            weights_folder(elsewhere, study(tmp_path, LEARNING_RATE, init), None)
        for said in (folder, "study colours", "--weights FOLDER"):
            assert said in str(refused.value)

    def test_a_folder_that_nothing_needs_may_be_missing(self, stored: Study, tmp_path: Path) -> None:
        elsewhere = replace(stored.stored, weights_dir="/nowhere/weights")
        assert weights_folder(elsewhere, study(tmp_path, LEARNING_RATE, "scratch"), None) is None

    def test_weights_of_the_cache_replace_a_missing_folder_with_a_warning(
        self, stored: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(search.study_setup.weights_folder, "missing_weights", lambda names, weights_dir: ())
        elsewhere = replace(stored.stored, weights_dir="/nowhere/weights")
        assert weights_folder(elsewhere, study(tmp_path, LEARNING_RATE, "pretrained"), None) is None
        assert "/nowhere/weights of study colours" in caplog.text and "--weights FOLDER" in caplog.text

    def test_start_remembers_the_folder_and_replaces_it_only_by_an_explicit_one(
        self,
        stores: Stores,
        study_file: Path,
        competition_folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        plan = replace(study_plan(study_file, competition_folder), weights_dir=Path("mine"))
        begun = create_study(stores, plan)
        assert begun.stored.weights_dir == str(tmp_path / "mine")
        continued = resume(stores, begun, replace(plan, weights_dir=None))
        assert continued.stored.weights_dir == str(tmp_path / "mine")
        other = resume(stores, begun, replace(plan, weights_dir=tmp_path / "other"))
        assert other.stored.weights_dir == str(tmp_path / "other")

    def test_a_path_that_is_not_unicode_is_not_remembered(self, stores: Stores, tmp_path: Path) -> None:
        assert remembered_path(Path(os.fsdecode(b"/tmp/w\xff"))) is None
        assert remembered_path(tmp_path / "ü") == str(tmp_path / "ü")
