"""Backbones of a study against the installed timm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from studies.backbones import backbones_of, check_backbones
from studies.catalog import bundled_studies
from studies.explain import explain
from studies.spec import StudyError, StudySpec, load_study

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

    spec = load_study(name)
    assert check_backbones(spec) == spec
    if spec.recipe["init"] == "imagenet":
        assert set(backbones_of(spec)) <= set(timm.list_pretrained()), "each needs weights"


def test_a_filter_becomes_the_list_it_finds(load: Load) -> None:
    spec = load(FILTER)
    assert not spec.is_resolved
    assert explain(spec).sampled[0].values.startswith("timm models resnet18.*, vit_tiny")
    for needs_the_list in (spec.default_params, spec.to_dict):
        with pytest.raises(StudyError, match="not known before its filter is resolved"):
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
