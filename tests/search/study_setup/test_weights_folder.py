"""The initial weights of all possible trials are checked before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
from huggingface_hub import constants
from safetensors.torch import save_file

from search.study_setup.prepare import _check_initial_weights
from studies.spec import StudySpec, load_study
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
        _check_initial_weights(study(tmp_path, INIT), folder)
    for said in ("test_resnet: https://", "init = 'ssl-a'", str(folder), "ssl-a.safetensors", "did you mean ssl-b?"):
        assert said in str(refused.value)
    assert "init = 'ssl-b'" not in str(refused.value)
    put(folder, "ssl-a")
    put(folder, "test_resnet")
    _check_initial_weights(study(tmp_path, INIT), folder)


def test_a_checkpoint_needs_a_weights_folder(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no such folder was given: --weights FOLDER"):
        _check_initial_weights(study(tmp_path, LEARNING_RATE, "ssl-a"), None)
    _check_initial_weights(study(tmp_path, LEARNING_RATE, "scratch"), None)


def test_the_fixed_value_is_checked_for_trials_that_do_not_meet_a_condition(tmp_path: Path, folder: Path) -> None:
    put(folder, "ssl-a")
    with pytest.raises(BackboneError, match="pre-trained weights are not at hand"):
        _check_initial_weights(study(tmp_path, CONDITIONAL, ""), folder)
    _check_initial_weights(study(tmp_path, CONDITIONAL, "scratch"), folder)
