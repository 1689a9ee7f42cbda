"""Embeddings by tiny networks with checkpoints that the tests write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.trainer.images import sample_image
from trainer.common.errors import BackboneError, DataError
from trainer.data.images import ArrayImages, FileImages
from trainer.networks.backbones import preprocessing_of
from trainer.networks.pretrained import find_pretrained_weights
from trainer.shift.embeddings import EXTRACTORS, available_extractor, embed, load_extractor

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


def images(count: int = 5) -> ArrayImages:
    return ArrayImages(label="a.npz", array=np.stack([sample_image(i) for i in range(count)]), rows=tuple(range(count)))


@pytest.mark.parametrize("name", [NAME, VIT])
def test_features_are_those_before_the_classifier(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.shift.embeddings.BATCH", 2)
    model, size = load_extractor(name, folder)
    seen: list[tuple[int, int]] = []
    found = embed(model, images(), size=size, progress=lambda done, total: seen.append((done, total)))
    assert size == 160 and not model.training
    assert seen == [(2, 5), (4, 5), (5, 5)]
    whole = timm.create_model(name, pretrained=False, checkpoint_path=folder / f"{name}.safetensors").eval()
    look = preprocessing_of(whole)
    from PIL import Image

    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[look.interpolation]
    pixels = (
        np.stack([np.asarray(Image.fromarray(sample_image(i)).resize((160, 160), resample)) for i in range(5)]) / 255
    )
    batch = torch.tensor((pixels - look.mean) / look.std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(batch), pre_logits=True).numpy()
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_first_at_hand_is_taken_and_the_hub_is_not_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("trainer.networks.pretrained._hub_has", never)
    assert available_extractor(folder, ["resnet18.a1_in1k", VIT, NAME]) == VIT
    assert available_extractor(folder) is None
    assert available_extractor(None) is None
    assert find_pretrained_weights(NAME, None, ask_hub=False) is None
    with pytest.raises(BackboneError, match="does not exist"):
        available_extractor(folder / "nowhere")


def test_the_extractors_exist_and_take_their_size() -> None:
    for name, size in EXTRACTORS.items():
        config = timm.get_pretrained_cfg(name)
        assert config is not None and config.hf_hub_id, name
        assert size <= config.input_size[-1], name


def test_unusable_weights_and_images_raise_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="not at hand"):
        load_extractor("resnet18.a1_in1k", folder)
    model, size = load_extractor(NAME, folder)
    assert embed(model, images().subset([]), size=size).shape[0] == 0
    with pytest.raises(DataError, match=r"gone.png: there is no such file"):
        embed(model, FileImages(root=tmp_path, paths=("gone.png",)), size=size)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(BackboneError, match="not finite"):
        embed(model, images(), size=size)
