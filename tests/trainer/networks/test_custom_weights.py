"""Custom checkpoints: found by a plain name in the weights folder, loaded completely, never trusted."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.trainer.networks.test_pretrained import Malice, checkpoint, differing
from tests.trainer.training.support import SMALL, competition, run
from trainer.common.errors import BackboneError
from trainer.networks.build import create_backbone
from trainer.networks.custom_weights import custom_weights_digest, custom_weights_file, missing_custom_weights_message
from trainer.networks.pretrained.find_weights import missing_weights
from trainer.recipe.recipe import Recipe, RecipeError
from trainer.training.write_model_folder import save_weights

TINY = ("test_resnet", "test_vit", "test_convnext", "test_efficientnet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def recipe(init: str = "mine", backbone: str = "test_resnet", **changes: Any) -> Recipe:
    return Recipe.from_flat({"backbone": backbone, "init": init, "image_size": 64, **changes})


def classifier_of(backbone: str) -> set[str]:
    name = timm.get_pretrained_cfg(backbone).classifier
    return {f"{name}.weight", f"{name}.bias"}


@pytest.mark.parametrize("backbone", TINY)
@pytest.mark.parametrize("classes", [4, 7])
def test_a_checkpoint_is_loaded_and_its_classifier_kept_where_it_fits(
    folder: Path, backbone: str, classes: int
) -> None:
    state = checkpoint(backbone, classes)
    save_file(state, folder / "mine.safetensors")
    model = create_backbone(recipe(backbone=backbone), 4, weights_dir=folder)
    resized = {"pos_embed"} if backbone == "test_vit" else set()  # to 64 pixels
    assert differing(model, state) == resized | (classifier_of(backbone) if classes != 4 else set())


@pytest.mark.parametrize("backbone", TINY)
def test_a_checkpoint_without_a_classifier_gets_a_fresh_one(folder: Path, backbone: str) -> None:
    """As self-supervised pre-training writes it."""
    state = checkpoint(backbone)
    for name in classifier_of(backbone):
        del state[name]
    save_file(state, folder / "mine.safetensors")
    made = create_backbone(recipe(backbone=backbone), 4, weights_dir=folder).state_dict()
    assert set(made) - set(state) == classifier_of(backbone)
    assert all(torch.equal(made[name], state[name]) for name in state if name != "pos_embed")
    assert made[min(classifier_of(backbone))].shape[0] == 4


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"state_dict": {}, "state_dict_ema": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}},
    ],
)
def test_the_name_prefixes_of_training_scripts_are_removed(folder: Path, wrapped: Any) -> None:
    state = checkpoint(classes=4)
    torch.save(wrapped(state), folder / "mine.pth")
    assert differing(create_backbone(recipe(), 4, weights_dir=folder), state) == set()


def test_an_exported_network_can_be_a_checkpoint(folder: Path) -> None:
    """The digest of its content is recorded with the result, and a training starts from it."""
    first = run({"epochs": 2}, keep_models=True)
    save_weights(folder / "fold0-seed0.safetensors", first.models[0])
    again = run({"epochs": 1, "init": "fold0-seed0", "optimizer.lr": 1e-8}, weights_dir=folder)
    assert again.reports[-1].train_loss < 0.8 * first.reports[0].train_loss
    content = (folder / "fold0-seed0.safetensors").read_bytes()
    assert again.machine["init_sha256"] == hashlib.sha256(content).hexdigest()[:16]
    assert again.machine["init_sha256"] == custom_weights_digest("fold0-seed0", folder)
    assert "init_sha256" not in first.machine


@pytest.mark.parametrize("backbone", TINY)
def test_a_checkpoint_of_another_network_is_refused(folder: Path, backbone: str) -> None:
    for other in set(TINY) - {backbone}:
        save_file(checkpoint(other), folder / "mine.safetensors")
        with pytest.raises(BackboneError, match=f"init = 'mine' cannot be loaded into {backbone}"):
            create_backbone(recipe(backbone=backbone), 4, weights_dir=folder)


def test_a_checkpoint_that_lacks_or_adds_something_is_refused(folder: Path) -> None:
    state = checkpoint()
    save_file({**state, "projector.weight": torch.zeros(1)}, folder / "mine.safetensors")
    with pytest.raises(BackboneError, match=r"projector\.weight"):
        create_backbone(recipe(), 4, weights_dir=folder)
    del state["layer2.0.conv1.weight"]
    save_file(state, folder / "mine.safetensors")
    with pytest.raises(BackboneError, match=r"layer2\.0\.conv1\.weight"):
        create_backbone(recipe(), 4, weights_dir=folder)


def test_only_tensors_are_read(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({**checkpoint(), "malice": Malice(proof)}, folder / "mine.pth")
    with pytest.raises(BackboneError, match="cannot be loaded safely"):
        create_backbone(recipe(), 4, weights_dir=folder)
    assert not proof.exists()
    torch.save({**checkpoint(), "epoch": 7}, folder / "mine.pth")
    with pytest.raises(BackboneError, match="'epoch' is no tensor"):
        create_backbone(recipe(), 4, weights_dir=folder)


@pytest.mark.parametrize(
    "name", ["../mine", "/etc/passwd", "sub/mine", ".hidden", "-x", "", "a b", "mine\n", "a" * 101]
)
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(RecipeError, match="init"):
        Recipe.from_flat({"init": name})


def test_a_link_does_not_lead_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    save_file(checkpoint(), tmp_path / "secret.safetensors")
    (folder / "mine.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(BackboneError, match="a link out of the weights folder"):
        create_backbone(recipe(), 4, weights_dir=folder)
    save_file(checkpoint(), folder / "other.safetensors")
    (folder / "mine.safetensors").unlink()
    (folder / "mine.safetensors").symlink_to(folder / "other.safetensors")
    assert custom_weights_file("mine", folder) == folder / "mine.safetensors"


def test_the_error_names_the_missing_file_and_the_folder(folder: Path) -> None:
    save_file(checkpoint(), folder / "pretext.safetensors")
    torch.save(checkpoint(), folder / "old.pth")
    assert missing_custom_weights_message(["pretrained", "scratch", "pretext", "old"], folder) == ""
    message = missing_custom_weights_message(["pretex", "pretrained", "nothing.like.it", "pretex"], folder)
    assert len(message.splitlines()) == 2
    assert f"init = 'pretex' is neither pretrained nor scratch, and the weights folder {folder} has no" in message
    assert "pretex.safetensors or pretex.pth; did you mean pretext" in message
    assert "--weights" in missing_custom_weights_message(["pretext"], None)
    assert "did you mean pretrained?" in missing_custom_weights_message(["pretraind"], None)
    assert "does not exist" in missing_custom_weights_message(["pretext"], folder / "nowhere")
    with pytest.raises(BackboneError, match=re.escape(str(folder))):
        create_backbone(recipe("pretex"), 4, weights_dir=folder)


def test_every_fold_begins_with_the_checkpoint(folder: Path) -> None:
    """With a classifier of the right size, only the order of the images is random."""
    save_file(checkpoint(classes=3), folder / "mine.safetensors")
    frozen = {"init": "mine", "freeze": 1.0, "epochs": 1, "optimizer.lr": 1e-8}
    result = run(frozen, competition(), weights_dir=folder, keep_models=True)
    state = create_backbone(Recipe.from_flat({**SMALL, **frozen}), 3, weights_dir=folder).state_dict()
    for model in result.models:
        assert all(torch.allclose(model[name].float(), state[name].float(), atol=1e-6) for name in state)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="retable-weights-"))
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


@contextmanager
def another_user() -> Iterator[None]:
    """The block runs as a user without special rights."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("locked", ["mine.safetensors", "."])
def test_weights_without_permission_are_found_before_anything_starts(shared_folder: Path, locked: str) -> None:
    file = shared_folder / "mine.safetensors"
    save_weights(file, {"a": torch.ones(2)})
    save_weights(shared_folder / "test_resnet.safetensors", {"a": torch.ones(2)})
    with another_user():
        assert missing_custom_weights_message(["mine"], shared_folder) == ""
    for path in (shared_folder / locked, shared_folder / "test_resnet.safetensors"):
        path.chmod(0o0)
    with another_user():
        message = missing_custom_weights_message(["mine"], shared_folder)
        with pytest.raises(BackboneError, match="no permission"):
            missing_weights(["test_resnet"], shared_folder)
    assert "no permission" in message
    command = shlex.split(message.partition("its owner allows it: ")[2])
    subprocess.run(command, check=True)
    with another_user():
        assert missing_custom_weights_message(["mine"], shared_folder) == ""
