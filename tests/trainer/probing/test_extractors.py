"""The choice among backbones at hand, with weights of tiny networks that the tests write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from trainer.common.errors import BackboneError
from trainer.networks.architectures import architecture_of
from trainer.networks.build import create_backbone
from trainer.probing.extractors import EXTRACTORS, LARGEST, available_extractors, load_extractor, load_first
from trainer.probing.frozen_backbone import backbone_digest, pooled_features
from trainer.recipe.recipe import Recipe

NAME = "test_resnet.r160_in1k"
VIT = "test_vit.r160_in1k"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the weights of two tiny networks; hub and cache are out of reach."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no cache"))
    made = tmp_path / "weights"
    made.mkdir()
    torch.manual_seed(0)
    for name in (NAME, VIT):
        save_file(timm.create_model(name, pretrained=False).state_dict(), made / f"{name}.safetensors")
    return made


@pytest.mark.parametrize("name", [NAME, VIT])
def test_features_are_those_before_the_classifier(folder: Path, name: str) -> None:
    found = load_extractor(name, folder)
    assert found.name == name and found.size == 160 and not found.model.training
    whole = timm.create_model(name, pretrained=False, checkpoint_path=folder / f"{name}.safetensors").eval()
    batch = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(batch), pre_logits=True)
        assert torch.allclose(pooled_features(found.model, batch), expected, atol=1e-4)


@pytest.mark.parametrize("name", [NAME, VIT])
def test_the_features_of_a_study_are_found_under_the_same_name(folder: Path, name: str) -> None:
    """A check and a later study share their features, whatever the number of classes."""
    network = create_backbone(Recipe(backbone=name, image_size=160), 7, weights_dir=folder)
    assert backbone_digest(load_extractor(name, folder).model) == backbone_digest(network)


def test_known_extractors_come_first_then_the_largest_that_is_not_too_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("trainer.networks.pretrained.find_weights._hub_has", never)
    sizes = {name: architecture_of(name).parameters for name in (NAME, VIT)}
    by_size = sorted(sizes, key=lambda name: -sizes[name])
    assert available_extractors(folder) == by_size
    for name in ("vit_large_patch16_224.augreg_in21k", "vit_base_patch16_224.augreg_in21k", "resnet18.a1_in1k"):
        (folder / f"{name}.pth").touch()
    for other in (
        "my_checkpoint.pth",
        "resnet18.a1_in1k.txt",
        "no network.safetensors",
        "qwen3_vit_88m_enc.qwen3_5_0_8b.pth",
    ):
        (folder / other).touch()
    assert architecture_of("vit_base_patch16_224").parameters > LARGEST
    assert available_extractors(folder) == [
        "resnet18.a1_in1k",
        *by_size,
        "vit_base_patch16_224.augreg_in21k",
        "vit_large_patch16_224.augreg_in21k",
    ]


def test_weights_in_the_cache_are_at_hand(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    of_model = cache / "models--timm--test_resnet.r160_in1k"
    (of_model / "refs").mkdir(parents=True)
    (of_model / "refs" / "main").write_text("abc")
    assert available_extractors(None) == []
    (of_model / "snapshots" / "abc").mkdir(parents=True)
    (folder / f"{NAME}.safetensors").rename(of_model / "snapshots" / "abc" / "model.safetensors")
    assert available_extractors(None) == [NAME]
    assert load_extractor(NAME, None).size == 160


def test_nothing_is_at_hand(tmp_path: Path, folder: Path) -> None:
    assert available_extractors(None) == []
    assert load_first([], None) is None
    assert available_extractors(tmp_path) == []
    with pytest.raises(BackboneError, match="does not exist"):
        available_extractors(folder / "nowhere")


def test_without_weights_neither_timm_nor_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trainer.probing.extractors import available_extractors; "
        f"print(available_extractors(Path({str(tmp_path)!r})), {{'timm', 'torch'}} & sys.modules.keys())"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "none"), "PYTHONPATH": str(Path(__file__).parents[3])}
    environment.pop("HF_HUB_CACHE", None)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "[] set()"


def test_the_extractors_exist_and_take_their_size() -> None:
    for name, size in EXTRACTORS.items():
        config = timm.get_pretrained_cfg(name)
        assert config is not None and config.hf_hub_id, name
        assert size <= config.input_size[-1], name


def test_damaged_weights_are_passed_over_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / f"{VIT}.safetensors").write_bytes(b"no weights")
    with pytest.raises(BackboneError, match="cannot be loaded safely"):
        load_extractor(VIT, folder)
    found = load_first([VIT, NAME], folder)
    assert found is not None and found.name == NAME
    assert f"{VIT} is not used for features: the weights " in caplog.text
    assert load_first([VIT], folder) is None
    with pytest.raises(BackboneError, match="not at hand"):
        load_extractor("resnet18.a1_in1k", folder)
