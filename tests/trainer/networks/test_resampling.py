"""Pre-trained transformers at other image sizes: position parameters are resampled, everything else stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg

from trainer.common.errors import BackboneError
from trainer.inference.blend import Blend
from trainer.inference.model_folder import load_model_folder
from trainer.inference.networks.torch_networks import predict_member
from trainer.networks.backbones import Preprocessing, preprocessing_of
from trainer.networks.build import create_backbone
from trainer.networks.freezing import freeze
from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.networks.resampling import resample_positions
from trainer.networks.view_averaging import predict_proba
from trainer.recipe.recipe import Recipe
from trainer.training.write_model_folder import FolderMember, write_model_folder

CLASSES = 5
PLAIN = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic")

RESAMPLED = {
    "test_vit.r160_in1k": "pos_embed",  # a class token
    "test_vit2.r160_in1k": "pos_embed",  # a register token, the mean of the others, and a norm before the classifier
    "test_vit3.r160_in1k": "pos_embed",  # a register token and attention pooling, as in SigLIP
    "vit_small_patch14_reg4_dinov2.lvd142m": "pos_embed",
    "vit_pe_core_tiny_patch16_384.fb": "pos_embed",  # attention pooling and rotary embeddings
    "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m": "",  # rotary embeddings alone
    "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": "pos_embed",
    "eva02_tiny_patch14_224.mim_in22k": "pos_embed",
    "hiera_tiny_224.mae": "pos_embed",
    "gcvit_xxtiny.in1k": "relative_position_bias_table",
    "resnet50_clip.openai": "head.pos_embed",
}
"""Networks and the ends of the names of their position parameters, which depend on the size."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_weights(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """Random weights of the network at its own size, with as many classes as the published ones."""
    config = get_pretrained_cfg(name)
    assert config is not None
    torch.manual_seed(0)
    state = timm.create_model(name, pretrained=False, num_classes=config.num_classes).state_dict()
    state = {key: value.clone().contiguous() for key, value in state.items()}
    save_file(state, folder / f"{name}.safetensors")
    return state


def recipe(name: str, **settings: object) -> Recipe:
    return Recipe.from_flat({"backbone": name, "init": "pretrained", "image_size": 128, **settings})


@pytest.mark.parametrize("name", RESAMPLED)
def test_weights_of_another_size_are_loaded(name: str, tmp_path: Path) -> None:
    state = write_weights(name, tmp_path)
    model = create_backbone(recipe(name), CLASSES, weights_dir=tmp_path)
    classifier, loaded = classifier_tensors(model), model.state_dict()
    body = loaded.keys() - classifier
    changed = {key for key in body if key not in state or not torch.equal(loaded[key], state[key])}
    assert all(key in state and key.endswith(RESAMPLED[name] or "-") for key in changed)
    assert changed or not RESAMPLED[name], "the native size is not 128"
    assert all(loaded[key].isfinite().all() for key in changed)
    pixels = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8).numpy()
    proba = predict_proba(model, pixels, preprocessing=PLAIN, views=("identity", "hflip"))
    assert all(rows.shape == (2, CLASSES) for rows in proba.values())


EXPORTED = ("test_vit3.r160_in1k", "vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m", "hiera_tiny_224.mae")


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_model_predicts_the_same(name: str, tmp_path: Path) -> None:
    write_weights(name, tmp_path)
    model = create_backbone(recipe(name), CLASSES, weights_dir=tmp_path)
    preprocessing = preprocessing_of(name)
    member = FolderMember(
        recipe=recipe(name), preprocessing=preprocessing, views=("identity",), state_dicts={"fold0": model.state_dict()}
    )
    classes = [f"class {number}" for number in range(CLASSES)]
    write_model_folder(
        tmp_path / "model", class_names=classes, members=[member], blend=Blend(weights=(1.0,)), data_fingerprint="abc"
    )
    pixels = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8).numpy()
    folder = load_model_folder(tmp_path / "model")
    exported = predict_member(folder, folder.members[0], pixels)
    assert np.allclose(exported, predict_proba(model, pixels, preprocessing=preprocessing)["identity"], atol=1e-6)


@pytest.mark.parametrize("name", RESAMPLED)
def test_only_the_classifier_learns_where_all_is_frozen(name: str) -> None:
    model = create_backbone(recipe(name, init="scratch", freeze=1.0), CLASSES, weights_dir=None)
    freeze(model, recipe(name, freeze=1.0))
    assert {key for key, value in model.named_parameters() if value.requires_grad} == classifier_tensors(model)
    shapes = {model.state_dict()[key].shape[0] for key in classifier_tensors(model)}
    assert shapes == {CLASSES}


@pytest.mark.parametrize("name", [name for name in RESAMPLED if name.startswith(("test_vit", "vit", "eva"))])
def test_tokens_belong_to_the_lowest_layer_and_the_pool_to_the_highest(name: str) -> None:
    model = create_backbone(recipe(name, init="scratch"), CLASSES, weights_dir=None)
    groups = layer_groups(model)
    parameters = [key for key, _ in model.named_parameters()]
    lowest = [key for key in parameters if key.startswith(("cls_token", "reg_token", "pos_embed", "patch_embed"))]
    assert lowest and all(groups[key] == 0 for key in lowest)
    highest = [key for key in parameters if key.startswith(("attn_pool", "fc_norm", "head"))]
    assert {groups[key] for key in highest} == {max(groups.values())}


def test_a_checkpoint_of_one_size_starts_a_training_at_another(tmp_path: Path) -> None:
    """Back to its own size nothing is resampled: the network is the same."""
    torch.manual_seed(0)
    small = timm.create_model("hiera_tiny_224", num_classes=CLASSES, img_size=128).eval()
    save_file(small.state_dict(), tmp_path / "mine.safetensors")
    for size in (128, 160):
        settings = {"init": "mine", "image_size": size}
        model = create_backbone(recipe("hiera_tiny_224", **settings), CLASSES, weights_dir=tmp_path).eval()
        images = torch.randn(1, 3, size, size)
        with torch.no_grad():
            assert model(images).shape == (1, CLASSES)
            assert size != 128 or torch.equal(model(images), small(images))


def test_weights_of_another_network_still_do_not_fit(tmp_path: Path) -> None:
    other = timm.create_model("hiera_small_224", num_classes=0).state_dict()
    save_file(other, tmp_path / "hiera_tiny_224.mae.safetensors")
    with pytest.raises(BackboneError, match="the weights do not fit hiera_tiny_224"):
        create_backbone(recipe("hiera_tiny_224.mae"), CLASSES, weights_dir=tmp_path)


def test_a_linear_embedding_stays_linear() -> None:
    """Positions that grow along one axis grow along it at every size, between the same ends."""
    ramp = torch.linspace(0, 1, 14).repeat(14, 1)[None, :, :, None]
    for tensor, wanted in (
        (ramp, torch.empty(1, 7, 7, 1)),
        (ramp.reshape(1, 196, 1), torch.empty(1, 49, 1)),
        (torch.cat([torch.full((1, 1), 9.0), ramp.reshape(196, 1)]), torch.empty(50, 1)),
    ):
        (new,) = resample_positions({"pos_embed": tensor}, {"pos_embed": wanted}).values()
        assert new.shape == wanted.shape
        rows = new.flatten()[-49:].reshape(7, 7)
        assert torch.allclose(rows, rows[:1].expand(7, 7), atol=1e-5)
        assert (rows[0].diff() > 0).all() and 0 <= rows.min() < 0.1 and 0.9 < rows.max() <= 1.0
        assert new.numel() == 49 or new.flatten()[0] == 9.0, "the class token is not resampled"


def test_what_is_no_position_stays() -> None:
    state = {"pos_embed": torch.ones(1, 5, 2), "head.weight": torch.ones(3, 2), "other": torch.ones(4)}
    wanted = {"pos_embed": torch.ones(1, 5, 2), "head.weight": torch.ones(7, 2), "missing": torch.ones(1)}
    new = resample_positions(state, wanted)
    assert new.keys() == state.keys() and all(new[key] is state[key] for key in state)
    odd = {"pos_embed": torch.ones(1, 7, 2)}
    assert resample_positions(odd, wanted)["pos_embed"] is odd["pos_embed"], "no square"
