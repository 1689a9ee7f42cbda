"""Pre-trained weights are found in all places, fit completely or not at all, and never run code."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from trainer.common.errors import BackboneError
from trainer.networks.build import create_backbone
from trainer.networks.pretrained import find_weights
from trainer.networks.pretrained.find_weights import find_pretrained_weights, missing_weights, weights_at_hand
from trainer.networks.pretrained.folder_networks import networks_in_folder, unknown_files
from trainer.networks.pretrained.missing_message import missing_weights_message
from trainer.recipe.recipe import Recipe

NAME = "test_resnet"
FULL_NAME = "test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and the hub switched off as HF_HUB_OFFLINE does."""
    cache = tmp_path / "hf-cache"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def checkpoint(name: str = NAME, classes: int = 1000) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return timm.create_model(name, num_classes=classes).state_dict()


def recipe(name: str = NAME) -> Recipe:
    return Recipe.from_flat({"backbone": name, "init": "pretrained", "image_size": 64})


def differing(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> set[str]:
    made = model.state_dict()
    assert set(made) == set(state)
    return {key for key in state if made[key].shape != state[key].shape or not torch.equal(made[key], state[key])}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("stem", [NAME, FULL_NAME])
def test_a_weights_folder_is_loaded_and_the_classifier_replaced(folder: Path, stem: str, suffix: str) -> None:
    state = checkpoint()
    path = folder / f"{stem}{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    found = find_pretrained_weights(NAME, folder)
    assert found is not None
    assert (found.where, found.file) == ("folder", path)
    model = create_backbone(recipe(), 4, weights_dir=folder)
    assert differing(model, state) == {"fc.weight", "fc.bias"}
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
    assert "state_dict" not in model.pretrained_cfg


def test_a_checkpoint_with_as_many_classes_brings_its_classifier(folder: Path) -> None:
    state = checkpoint(classes=4)
    save_file(state, folder / f"{NAME}.safetensors")
    assert differing(create_backbone(recipe(), 4, weights_dir=folder), state) == set()
    # The number of classes is the checkpoint's own, not what timm expects of this backbone.
    assert differing(create_backbone(recipe(), 6, weights_dir=folder), state) == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_other_kinds_of_networks_load_at_another_size(folder: Path, name: str) -> None:
    state = checkpoint(name)
    save_file(state, folder / f"{name}.safetensors")
    changed = differing(create_backbone(recipe(name), 4, weights_dir=folder), state)
    head = timm.get_pretrained_cfg(name).classifier
    # A transformer's position embeddings are interpolated to the new size.
    assert changed == {f"{head}.weight", f"{head}.bias"} | ({"pos_embed"} if name == "test_vit" else set())


@pytest.mark.parametrize("name", [NAME, "dla46_c"])
def test_a_weight_that_is_missing_is_refused(folder: Path, name: str) -> None:
    state = checkpoint(name)
    lost = next(key for key in state if key.endswith("bn1.weight"))
    del state[lost]
    save_file(state, folder / f"{name}.safetensors")
    with pytest.raises(BackboneError, match=f"do not fit(?s:.*){lost}"):
        create_backbone(recipe(name), 4, weights_dir=folder)


def test_weights_of_something_else_are_refused(folder: Path) -> None:
    save_file({**checkpoint(), "extra.weight": torch.zeros(1)}, folder / f"{NAME}.safetensors")
    with pytest.raises(BackboneError, match=r"extra\.weight"):
        create_backbone(recipe(), 4, weights_dir=folder)
    save_file(checkpoint("test_vit"), folder / f"{NAME}.safetensors")
    with pytest.raises(BackboneError, match="do not fit"):
        create_backbone(recipe(), 4, weights_dir=folder)
    torch.save([1, 2], folder / "test_vit.pth")
    with pytest.raises(BackboneError, match=r"not a state dict|cannot be loaded"):
        create_backbone(recipe("test_vit"), 4, weights_dir=folder)


class Malice:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({**checkpoint(), "malice": Malice(proof)}, folder / f"{NAME}.pth")
    with pytest.raises(BackboneError, match="cannot be loaded safely"):
        create_backbone(recipe(), 4, weights_dir=folder)
    (folder / f"{NAME}.pth").write_bytes(pickle.dumps(Malice(proof), protocol=2))
    with pytest.raises(BackboneError, match="cannot be loaded safely"):
        create_backbone(recipe(), 4, weights_dir=folder)
    assert not proof.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_damaged_file_is_refused(folder: Path, suffix: str) -> None:
    (folder / f"{NAME}{suffix}").write_bytes(b"\x10" * 100)
    with pytest.raises(BackboneError, match="cannot be loaded safely"):
        create_backbone(recipe(), 4, weights_dir=folder)


def test_missing_weights_are_never_replaced_by_random_ones(folder: Path) -> None:
    assert find_pretrained_weights(NAME, None) is None
    with pytest.raises(BackboneError) as refused:
        create_backbone(recipe(), 4, weights_dir=folder)
    for said in (str(folder), FULL_NAME, "--set recipe.init=scratch", "weights folder"):
        assert said in str(refused.value)


def test_missing_weights_are_all_named(folder: Path) -> None:
    save_file(checkpoint(), folder / f"{NAME}.safetensors")
    names = [NAME, "test_vit", "resnet18", "vit_wee_patch16_reg1_gap_256"]
    assert missing_weights(names, folder) == tuple(names[1:])
    message = missing_weights_message(names[1:], folder)
    assert all(name in message for name in names[1:])
    with pytest.raises(BackboneError, match="does not exist"):
        missing_weights(names, folder / "nowhere")
    with pytest.raises(BackboneError, match="no backbone"):
        missing_weights(["resnt"], folder)


def test_weights_at_hand_are_found_without_the_hub(no_hub: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(find_weights, "_hub_has", refuse)
    names = ["test_vit.r160_in1k", FULL_NAME, "resnet18.a1_in1k", "resnet18.a2_in1k"]
    assert weights_at_hand(names, None) == weights_at_hand(names, folder) == []
    put_into_cache(no_hub, checkpoint())
    (folder / "resnet18.a2_in1k.pth").write_bytes(b"damaged, but at hand")
    (folder / "my_own.safetensors").touch()
    assert weights_at_hand(names, folder) == [FULL_NAME, "resnet18.a2_in1k"]
    assert weights_at_hand(["resnet18.a2_in1k", "test_vit"], None) == []
    with pytest.raises(BackboneError, match="does not exist"):
        weights_at_hand(names, folder / "nowhere")


def test_a_file_named_by_the_architecture_alone_is_at_hand(folder: Path) -> None:
    """It stands for timm's default weights, unless these have a file of their own."""
    (folder / "resnet18.safetensors").touch()
    names = ["resnet18.a2_in1k", "resnet18.a1_in1k", "resnet18.tv_in1k"]
    assert weights_at_hand(names, folder) == ["resnet18"]
    assert weights_at_hand(["resnet18.tv_in1k"], folder) == []
    (folder / "resnet18.a1_in1k.safetensors").touch()
    assert weights_at_hand(names, folder) == ["resnet18.a1_in1k"]


def put_into_cache(cache: Path, state: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint to where the Hugging Face library would download it."""
    revision = "0" * 40
    repository = cache / f"models--timm--{FULL_NAME}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    save_file(state, snapshot / "model.safetensors")


def test_the_hugging_face_cache_is_used_without_the_hub(no_hub: Path) -> None:
    state = checkpoint()
    put_into_cache(no_hub, state)
    found = find_pretrained_weights(NAME, None)
    assert found is not None
    assert found.where == "cache"
    assert missing_weights([NAME], None) == ()
    assert differing(create_backbone(recipe(), 4, weights_dir=None), state) == {"fc.weight", "fc.bias"}


def test_the_folder_comes_before_the_cache(no_hub: Path, folder: Path) -> None:
    put_into_cache(no_hub, checkpoint())
    own = {key: value + 1 if value.is_floating_point() else value for key, value in checkpoint().items()}
    save_file(own, folder / f"{NAME}.safetensors")
    assert differing(create_backbone(recipe(), 4, weights_dir=folder), own) == {"fc.weight", "fc.bias"}


def test_the_hub_is_asked_last_and_only_once_when_out_of_reach(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def out_of_reach(repository: str, hub_file: str, revision: str | None) -> bool:
        asked.append(repository)
        raise find_weights._HubUnreachable

    monkeypatch.setattr(find_weights, "_hub_has", out_of_reach)
    assert missing_weights([NAME, "test_vit", "resnet18"], folder) == (NAME, "test_vit", "resnet18")
    assert asked == [f"timm/{FULL_NAME}"]


def test_the_hub_downloads_what_only_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = checkpoint()
    save_file(state, tmp_path / "on_the_hub.safetensors")

    def download(repository: str, hub_file: str, **_: object) -> str:
        assert (repository, hub_file) == (f"timm/{FULL_NAME}", "model.safetensors")
        return str(shutil.copy(tmp_path / "on_the_hub.safetensors", tmp_path / "downloaded.safetensors"))

    monkeypatch.setattr(find_weights, "_hub_has", lambda repository, hub_file, revision: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = find_pretrained_weights(NAME, None)
    assert found is not None
    assert found.where == "hub"
    assert differing(
        create_backbone(recipe(), 4, weights_dir=None), load_file(tmp_path / "downloaded.safetensors")
    ) == {
        "fc.weight",
        "fc.bias",
    }


def test_many_missing_backbones_are_counted() -> None:
    message = missing_weights_message([f"test_resnet_{i}" for i in range(195)], None)
    assert "... and 185 more" in message
    assert len(message.splitlines()) < 20


def test_networks_of_the_family_that_are_at_hand_are_named(tmp_path: Path) -> None:
    for name in ("resnet18", "tf_efficientnet_lite0.in1k", "vit_tiny_patch16_224.augreg_in21k", "notes"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    message = missing_weights_message(["tf_efficientnet_b4.ns_jft_in1k"], tmp_path)
    assert "(tf_efficientnet_lite0.in1k, resnet18" in message and "notes" not in message
    assert "--set recipe.backbone=tf_efficientnet_lite0.in1k" in message
    assert "recipe.backbone" not in missing_weights_message(["tf_efficientnet_b4.ns_jft_in1k"], None)
    several = missing_weights_message(["tf_efficientnet_b4.ns_jft_in1k", "resnet18.a1_in1k"], tmp_path)
    assert "space.backbone.at_hand=true" in several and "recipe.backbone" not in several
    by_name = 'space.backbone.match=["resnet18", "tf_efficientnet_lite0.in1k", "vit_tiny_patch16_224.augreg_in21k"]'
    assert f"--set '{by_name}'" in several
    none = missing_weights_message(["tf_efficientnet_b4.ns_jft_in1k", "resnet34.a1_in1k"], tmp_path)
    assert f"--set '{by_name}'" in none and "at_hand" not in none, "it would choose nothing"
    some = missing_weights_message(["vit_b", "vit_l"], tmp_path, among=["vit_b", "vit_l", "resnet18.a1_in1k"])
    assert "at_hand=true" in some


def test_a_weights_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for look in (networks_in_folder, unknown_files, lambda folder: weights_at_hand([FULL_NAME], folder)):
        with pytest.raises(BackboneError, match="nothere does not exist"):
            look(tmp_path / "nothere")
    assert networks_in_folder(None) == unknown_files(None) == []
