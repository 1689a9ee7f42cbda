"""Backbones and backbone filters of a study, resolved with the installed timm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from studies.explain import explain
from studies.file.catalog import bundled_studies
from studies.resolve_backbones import backbones_of, check_backbones
from studies.space.backbone_filter import find_backbones, read_filter
from studies.spec import StudyError, StudySpec, load_study
from trainer.networks.architectures import architecture_of
from trainer.networks.backbones import family_of

Load = Callable[..., StudySpec]

FILTER = """
[space]
backbone = { match = ["resnet18.*", "vit_tiny_patch16_224.*"], exclude = ["*in21k"], pretrained = true }
drop = [
    { low = 0.0, high = 0.1, when = { family = "cnn" } },
    { low = 0.2, high = 0.3, when = { family = "transformer" } },
    { low = 0.4, high = 0.5, when = { family = "mlp" } },
]
"""


@pytest.mark.parametrize("name", bundled_studies())
def test_every_backbone_of_the_bundled_studies_exists(name: str) -> None:
    import timm

    spec = check_backbones(load_study(name))
    assert check_backbones(spec) == spec
    if spec.recipe["init"] == "pretrained":
        assert set(backbones_of(spec)) <= set(timm.list_pretrained()), "each needs weights"


def test_a_filter_becomes_the_list_it_finds(load: Load) -> None:
    spec = load(FILTER)
    assert not spec.is_resolved
    assert explain(spec).sampled[0].values.startswith("timm models resnet18.*, vit_tiny")
    for needs_the_list in (spec.default_params, spec.to_dict):
        with pytest.raises(StudyError, match="until its filter is resolved"):
            needs_the_list()
    resolved = check_backbones(spec)
    assert resolved.is_resolved
    assert StudySpec.from_dict(resolved.to_dict()) == resolved
    found = backbones_of(resolved)
    assert "resnet18.a1_in1k" in found
    assert "vit_tiny_patch16_224.augreg_in21k_ft_in1k" in found
    assert "vit_tiny_patch16_224.augreg_in21k" not in found
    assert all(name.startswith(("resnet18.", "vit_tiny_patch16_224.")) for name in found)
    # No MLP was found: the range for them is gone, the others keep their conditions.
    assert [d.name for d in resolved.space] == ["backbone", "drop@cnn", "drop@transformer"]
    assert resolved.default_params() == {"backbone": found[0], "drop@cnn": 0.0}


def test_conditions_that_a_filter_decides_are_gone(load: Load) -> None:
    resolved = check_backbones(load(FILTER.replace('"vit_tiny_patch16_224.*"', '"resnet34.*"')))
    assert [(d.name, d.when) for d in resolved.space] == [("backbone", ()), ("drop", ())]


def test_a_filter_starts_with_the_backbone_of_the_recipe(load: Load) -> None:
    fixed = "[recipe]\nbackbone = 'resnet18.tv_in1k'\n"
    assert check_backbones(load(fixed + FILTER)).default_recipe()["backbone"] == "resnet18.tv_in1k"
    with pytest.raises(StudyError, match=r"the default resnet34.tv_in1k is not among timm models resnet18"):
        check_backbones(load(fixed.replace("18", "34") + FILTER))


def test_a_filter_that_finds_nothing_is_refused(load: Load) -> None:
    with pytest.raises(StudyError, match=r"there are no timm models resnet18000\*"):
        check_backbones(load("[space]\nbackbone = { match = 'resnet18000*' }"))


@pytest.mark.parametrize("entry", ["[recipe]\nbackbone = 'resnet17'", "[space]\nbackbone = ['resnet18', 'resnet17']"])
def test_an_unknown_backbone_is_answered_with_the_nearest(load: Load, entry: str) -> None:
    with pytest.raises(StudyError, match=r"resnet17.*did you mean .*resnet1\d"):
        check_backbones(load(entry))


def test_a_misspelt_backbone_is_one_problem_however_many_conditions_ask_for_its_family(load: Load) -> None:
    with pytest.raises(StudyError) as caught:
        load_study("full", ["recipe.backbone=rsnet18"])
    (problem,) = caught.value.problems
    assert problem.startswith("--set recipe.backbone=rsnet18: ")
    assert "did you mean resnet18" in problem
    with pytest.raises(StudyError, match=r"mine\.toml, \[space\]: backbone: .*rsnet18.*did you mean resnet18"):
        load(FILTER.replace("{ match", "['resnet18', 'rsnet18'] # { match"))


def test_all_unknown_backbones_are_listed(load: Load) -> None:
    with pytest.raises(StudyError) as caught:
        check_backbones(load("[space]\nbackbone = ['resnet17', 'vit_tiny_patch16_224', 'resnet18.never']"))
    assert len(caught.value.problems) == 2


def found(chosen: dict[str, object]) -> list[str]:
    return find_backbones(read_filter(chosen))


def test_a_filter_narrows_by_family_and_size() -> None:
    names = found({"family": ["transformer", "hybrid"], "min_params": 4, "max_params": 6, "max_size": 224})
    assert "deit_tiny_patch16_224.fb_in1k" in names
    assert "tiny_vit_5m_224.in1k" in names
    assert "vit_small_patch16_224.augreg_in1k" not in names, "22 million"
    assert {family_of(name) for name in names} == {"transformer", "hybrid"}
    assert all(4e6 <= architecture_of(name).parameters <= 6e6 for name in names)
    large = found({"match": ["tf_efficientnetv2_s*"], "min_size": 300})
    assert large == found({"match": ["tf_efficientnetv2_s*"]}), "made for 300 pixels"
    assert found({"match": ["tf_efficientnetv2_s*"], "max_size": 299}) == []


def test_encoders_without_a_classifier_are_never_found() -> None:
    assert found({"match": ["mobilenetv5_300m_enc*"], "pretrained": False}) == []


def test_of_several_sets_of_weights_the_default_is_found_unless_excluded() -> None:
    one = {"match": ["convnext_tiny.*", "resnet18.*"], "one_per_architecture": True}
    assert found(one) == ["convnext_tiny.in12k_ft_in1k", "resnet18.a1_in1k"]
    assert found({**one, "exclude": ["*.in12k_ft_in1k", "*.a?_in1k"]}) == [
        "convnext_tiny.dinov3_lvd1689m",
        "resnet18.fb_ssl_yfcc100m_ft_in1k",
    ]


def test_a_filter_and_patterns_in_conditions_are_resolved_together(load: Load) -> None:
    spec = load(
        """
        [recipe]
        backbone = "convnext_atto.d2_in1k"
        [space]
        backbone = { match = ["convnext_atto.*", "resnet18.*", "vit_tiny_patch16_224.*"], one_per_architecture = true }
        "optimizer.lr" = [
            { low = 1e-4, high = 1e-3, when = { family = "cnn", backbone = "!convnext*" } },
            { low = 1e-5, high = 1e-4, when = { backbone = "convnext*" } },
            { low = 1e-6, high = 1e-5, when = { family = ["transformer", "mlp"] } },
            { low = 1e-2, high = 1e-1, when = { backbone = "swin*" } },
        ]
        """
    )
    assert not spec.is_resolved
    resolved = check_backbones(spec)
    names = ["optimizer.lr@cnn+not-convnext", "optimizer.lr@convnext", "optimizer.lr@transformer"]
    assert [d.name for d in resolved.space] == ["backbone", *names]
    assert [d.choices for d in resolved.space[:1]] == [
        ("convnext_atto.d2_in1k", "resnet18.a1_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    ]
    assert resolved.default_params().keys() == {"backbone", "optimizer.lr@convnext"}
    assert StudySpec.from_dict(resolved.to_dict()) == resolved


def test_patterns_that_overlap_are_found_when_the_filter_is_resolved(load: Load) -> None:
    spec = load(
        """
        [space]
        backbone = { match = ["resnet18.*", "resnet34.*"] }
        drop = [{ low = 0.0, high = 0.1, when = { backbone = "resnet*" } },
                { low = 0.2, high = 0.3, when = { backbone = "*18.*" } }]
        """
    )
    with pytest.raises(StudyError, match=r"backbone = \*18\.\*\) overlap"):
        check_backbones(spec)


def test_the_sweep_is_about_two_hundred_networks_that_train_at_one_size() -> None:
    spec = check_backbones(load_study("backbone_sweep"))
    names = backbones_of(spec)
    assert 120 <= len(names) <= 220
    assert len({name.partition(".")[0] for name in names}) == len(names)
    assert {family_of(name) for name in names} == {"cnn", "transformer", "hybrid"}
    assert spec.default_params()["backbone"] == "tf_efficientnet_b0.ns_jft_in1k", "the product's default"
    # ConvNeXt, other convolutions with batch and with frozen statistics, the rest.
    assert len([d for d in spec.space if d.field == "optimizer.lr"]) == 4


def test_overrides_narrow_the_sweep() -> None:
    changes = ["space.backbone.family=transformer", "space.backbone.max_params=10"]
    spec = check_backbones(load_study("backbone_sweep", changes))
    assert 2 < len(backbones_of(spec)) < 20
    assert [d.name for d in spec.space] == ["backbone", "optimizer.lr", "optimizer.layer_decay", "head"]
    assert spec.space[1].when == ()
    assert spec.default_params()["backbone"] in backbones_of(spec)
