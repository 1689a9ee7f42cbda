"""Which probes a study begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.tuning.probing.plan import as_probe, enlarged_size, plan_probes, reduced_size
from studies.load_study import load_study
from studies.spec import StudySpec
from studies.stored_spec import spec_from_dict
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

STUDY = """
title = "A sweep"

[recipe]
image_size = 64
epochs = 9

[space]
backbone = ["test_resnet", "test_vit", "test_efficientnet"]
"optimizer.lr" = [
    { low = 1e-4, high = 1e-2, log = true, when = { "backbone.family" = "cnn" } },
    { low = 1e-5, high = 1e-3, log = true, when = { "backbone.family" = "transformer" } },
]
"""


def spec(tmp_path: Path, *overrides: str, text: str = STUDY) -> StudySpec:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    return load_study(file, ("probe.enlarge=1", "probe.reduce=1", *overrides))


def planned(found: StudySpec) -> list[tuple[str, int, str]]:
    return [(p.recipe.backbone, p.recipe.image_size, p.recipe.init) for p in plan_probes(found)]


def test_every_backbone_is_probed_the_default_first_then_the_smallest(tmp_path: Path) -> None:
    found = planned(spec(tmp_path, "space.backbone.default=test_vit"))
    assert found == [
        ("test_vit", 64, "pretrained"),
        ("test_efficientnet", 64, "pretrained"),
        ("test_resnet", 64, "pretrained"),
    ]


def test_a_probe_has_parameters_that_the_space_allows(tmp_path: Path) -> None:
    sweep = spec(tmp_path)
    for probe in plan_probes(sweep):
        assert sweep.assemble(probe.params)["backbone"] == probe.recipe.backbone
        assert probe.recipe.method == LINEAR_PROBE
        assert probe.recipe.epochs == 1


def test_image_sizes_to_choose_from_are_probed_of_a_range_only_the_default(tmp_path: Path) -> None:
    choices = STUDY + "image_size = [64, 96]\n"
    assert len(planned(spec(tmp_path, text=choices))) == 6
    within = STUDY + "image_size = { low = 64, high = 128, step = 32, default = 96 }\n"
    assert {size for _, size, _ in planned(spec(tmp_path, text=within))} == {96}


def test_networks_of_any_size_are_probed_again_on_enlarged_images(tmp_path: Path) -> None:
    found = plan_probes(spec(tmp_path, "probe.enlarge=1.3"))
    assert [probe.resized for probe in found] == [False] * 3 + [True] * 2
    # test_vit is built for one size; the authors test test_efficientnet and test_resnet at their own sizes.
    sizes = {probe.recipe.backbone: probe.recipe.image_size for probe in found if probe.resized}
    assert sizes == {name: enlarged_size(name, 1.3) for name in ("test_efficientnet", "test_resnet")}
    assert all(probe.recipe.method == LINEAR_PROBE for probe in found)


def test_images_that_are_large_already_are_not_enlarged(tmp_path: Path) -> None:
    found = plan_probes(spec(tmp_path, "probe.enlarge=1.3", "recipe.image_size=512"))
    assert not any(probe.resized for probe in found)


@pytest.mark.parametrize(
    ("backbone", "factor", "expected"),
    [
        ("tf_efficientnet_lite0.in1k", 1.3, 288),  # 291 rounded down
        ("tf_efficientnet_lite0.in1k", 1.0, None),
        ("convnext_tiny.fb_in22k_ft_in1k", 2.0, 288),  # the authors' own
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 1.3, None),
    ],
)
def test_enlarged_sizes(backbone: str, factor: float, expected: int | None) -> None:
    assert enlarged_size(backbone, factor) == expected


def test_the_default_is_also_probed_on_reduced_images(tmp_path: Path) -> None:
    reduce = ("probe.reduce=0.5", "recipe.image_size=160")
    found = plan_probes(spec(tmp_path, *reduce))
    assert [(p.recipe.backbone, p.recipe.image_size) for p in found if p.resized] == [("test_resnet", 96)]
    assert found[0].recipe == found[-1].recipe.replace({"image_size": 160})
    assert not any(probe.resized for probe in plan_probes(spec(tmp_path, *reduce, "search.trials=0"))), "no trials"
    choices = STUDY.replace("image_size = 64\n", "") + "image_size = [160, 96]\n"
    assert not any(probe.resized for probe in plan_probes(spec(tmp_path, "probe.reduce=0.5", text=choices)))


@pytest.mark.parametrize(
    ("backbone", "image_size", "factor", "expected"),
    [
        ("tf_efficientnet_lite0.in1k", 224, 0.5, 128),  # 112 rounded up
        ("tf_efficientnet_lite0.in1k", 224, 1.0, None),
        ("tf_efficientnet_lite0.in1k", 96, 0.1, 64),
        ("tf_efficientnet_lite0.in1k", 64, 0.5, None),  # hardly smaller
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 224, 0.5, None),
    ],
)
def test_reduced_sizes(backbone: str, image_size: int, factor: float, expected: int | None) -> None:
    assert reduced_size(backbone, image_size, factor) == expected


def test_a_start_from_random_weights_is_not_probed(tmp_path: Path) -> None:
    assert planned(spec(tmp_path, "recipe.init=scratch")) == []
    both = STUDY + 'init = ["pretrained", "scratch"]\n'
    assert {init for _, _, init in planned(spec(tmp_path, text=both))} == {"pretrained"}


def test_probes_can_be_switched_off(tmp_path: Path) -> None:
    assert planned(spec(tmp_path, "probe.enabled=false")) == []


@pytest.mark.parametrize(
    ("hflip", "tta", "expected"), [(0.5, "none", "hflip"), (0.0, "none", "none"), (0.5, "flips", "flips")]
)
def test_the_mirror_image_counts_where_training_mirrors(hflip: float, tta: str, expected: str) -> None:
    assert as_probe(Recipe.from_flat({"augment.hflip": hflip, "tta": tta})).tta == expected


def test_a_study_of_an_earlier_release_has_no_probes(tmp_path: Path) -> None:
    stored = spec(tmp_path).to_dict()
    before = spec_from_dict({key: value for key, value in stored.items() if key != "probe"})
    assert not before.probe.enabled
    assert before.spec_hash == spec(tmp_path).spec_hash
