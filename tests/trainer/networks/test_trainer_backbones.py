"""Backbones: every timm name has a family, and an image size that does not work is refused with sizes that do."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import timm
import torch

from tests.trainer.training.support import competition
from trainer.common.errors import BackboneError
from trainer.networks.backbones import BACKBONES, FAMILIES, check_backbone, family_of, preprocessing_of, size_arguments
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel

TINY = ("test_vit", "test_convnext", "test_efficientnet", "test_resnet")


def recipe(backbone: str, **settings: object) -> Recipe:
    return Recipe.from_flat({"backbone": backbone, "init": "scratch", "image_size": 64, **settings})


def test_every_architecture_of_timm_has_a_rule_and_every_rule_an_architecture() -> None:
    names = timm.list_models()
    assert {family_of(name) for name in names} == set(FAMILIES)
    longest = {max((prefix for prefix in BACKBONES if name.startswith(prefix)), key=len) for name in names}
    assert set(BACKBONES) == longest


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("cnn", "tf_efficientnet_b4.ns_jft_in1k convnext_tiny.fb_in22k resnet18 resnext50_32x4d regnety_032 vgg16_bn"),
        (
            "cnn",
            "mobilenetv4_conv_small convformer_s18 convmixer_768_32 repvit_m1 nfnet_f0 test_convnext mambaout_tiny",
        ),
        (
            "transformer",
            "vit_small_patch16_224 swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 deit3_small_patch16_224",
        ),
        (
            "transformer",
            "beitv2_base_patch16_224 eva02_tiny_patch14_224 convit_tiny coat_tiny pvt_v2_b0 test_vit_relpos",
        ),
        (
            "hybrid",
            "coatnet_0_224 maxvit_tiny_tf_224 mobilevit_s efficientformer_l1 levit_128 fastvit_t8 edgenext_small",
        ),
        (
            "hybrid",
            "vit_small_r26_s32_224 vit_base_resnet50d_224 mobilenetv4_hybrid_medium caformer_s18 tiny_vit_5m_224",
        ),
        ("mlp", "mixer_b16_224 resmlp_12_224 gmlp_s16_224 gmixer_24_224 sequencer2d_s"),
    ],
)
def test_families(family: str, names: str) -> None:
    assert {name: family_of(name) for name in names.split()} == dict.fromkeys(names.split(), family)


@pytest.mark.slow
def test_a_family_is_known_without_importing_timm_or_torch() -> None:
    code = (
        "import sys; from trainer.networks.backbones import family_of; family_of('resnet18');"
        "print({'timm', 'torch'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_name_without_a_rule_is_an_error() -> None:
    with pytest.raises(BackboneError, match="BACKBONES"):
        family_of("perceptron3000")


def test_known_names_pass() -> None:
    for name in ("resnet18", "resnet18.a1_in1k", "tf_efficientnet_b4.ns_jft_in1k", *TINY):
        check_backbone(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnt18", r"resnet18"),
        ("efficientnet_b9", r"efficientnet_b\d"),
        ("resnet18.nonsense", r"resnet18\.a1_in1k"),
        ("hf-hub:timm/resnet18", "plain timm name"),
        ("timm/resnet18", "plain timm name"),
        ("../weights", "plain timm name"),
        ("", "plain timm name"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(BackboneError, match=hint):
        check_backbone(name)


def test_every_pretrained_name_of_timm_counts_as_plain() -> None:
    assert [name for name in timm.list_pretrained() if not re.fullmatch(r"\w+(\.\w+)?", name)] == []


@pytest.mark.parametrize("name", TINY)
def test_tiny_backbones_take_64_pixels(name: str) -> None:
    model = create_backbone(recipe(name), 5, weights_dir=None)
    assert model.training
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


def test_the_same_seed_makes_the_same_weights() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(create_backbone(recipe("test_vit"), 3, weights_dir=None).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.slow
def test_an_impossible_size_is_refused_with_sizes_that_work() -> None:
    with pytest.raises(BackboneError, match=r"70 x 70") as refused:
        create_backbone(recipe("test_vit", image_size=70), 3, weights_dir=None)
    sizes = [int(size) for size in str(refused.value).rpartition(": ")[2].split(", ")]
    assert len(sizes) > 1
    for size in sizes:
        create_backbone(recipe("test_vit", image_size=size), 3, weights_dir=None)


@pytest.mark.slow
def test_an_image_that_shrinks_to_nothing_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"sizes that it takes: 32"):
        create_backbone(recipe("vgg11", image_size=16), 3, weights_dir=None)


def test_only_networks_of_a_fixed_size_get_a_size_argument() -> None:
    assert size_arguments("vit_tiny_patch16_224", 96) == {"img_size": 96}
    assert size_arguments("swin_tiny_patch4_window7_224", 64) == {"img_size": 64}
    assert size_arguments("resnet18", 96) == {}


def drop_path_of(model: torch.nn.Module) -> float:
    return max((module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"), default=0.0)


def test_dropout_reaches_the_network_where_it_has_any() -> None:
    model = create_backbone(recipe("test_vit", drop=0.3, drop_path=0.2), 3, weights_dir=None)
    assert drop_path_of(model) == pytest.approx(0.2)
    assert 0.3 in [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    # GhostNet has a classifier dropout, but no stochastic depth.
    ghost = create_backbone(recipe("ghostnet_050", drop=0.3, drop_path=0.2), 3, weights_dir=None)
    assert drop_path_of(ghost) == 0.0
    assert ghost.drop_rate == 0.3


def test_preprocessing_is_timms_own() -> None:
    vit, resnet = preprocessing_of("vit_tiny_patch16_224"), preprocessing_of("resnet18.tv_in1k")
    assert vit.mean == vit.std == (0.5, 0.5, 0.5)
    assert resnet.mean == (0.485, 0.456, 0.406)
    assert (vit.interpolation, resnet.interpolation) == ("bicubic", "bilinear")
    assert preprocessing_of(create_backbone(recipe("test_vit"), 3, weights_dir=None)) == preprocessing_of("test_vit")
    with pytest.raises(BackboneError, match="did you mean"):
        preprocessing_of("resnet1")


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_a_training_normalises_as_its_backbone_was_trained(name: str) -> None:
    """One has the mean and deviation of ImageNet, the other 0.5 for both."""
    data = competition(12)
    model = FoldModel(
        recipe(name, image_size=32, batch_size=4),
        fold=0,
        seed=0,
        train_y=data.y[data.training_part(0)],
        num_classes=3,
        device=torch.device("cpu"),
        weights_dir=None,
    )
    seen: list[torch.Tensor] = []
    model._model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    model.train_epoch(1, [(data.pixels.train[:4], data.y[:4])], 4)
    config = timm.get_pretrained_cfg(name)
    mean, std = torch.tensor(config.mean).view(3, 1, 1), torch.tensor(config.std).view(3, 1, 1)
    expected = (torch.from_numpy(data.pixels.train[:4]).permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=1e-5)
    assert (config.mean[0] == 0.5) is (name == "test_vit")
