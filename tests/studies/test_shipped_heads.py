"""How the trainings of the shipped studies begin: their first classifier and their norm layers."""

from __future__ import annotations

import pytest

from studies.load_study import load_study
from studies.spec import StudySpec
from trainer.recipe.recipe import Recipe

WITHOUT_LINEAR_CLASSIFIER = (
    "caformer_s18.sail_in22k_ft_in1k",
    "repvit_m1.dist_in1k",
    "resnetv2_50x1_bit.goog_in21k",
    "volo_d1_224.sail_in1k",
)


def heads(spec: StudySpec) -> set[object]:
    return set(spec.values_of("head"))


@pytest.mark.parametrize("name", ["aug_tuning", "full", "imbalance"])
def test_trainings_of_pretrained_weights_begin_with_a_probe(name: str) -> None:
    spec = load_study(name)
    assert spec.default_recipe()["head"] == "probe"
    assert heads(spec) == {"probe", "random"}


@pytest.mark.parametrize("name", ["aug_tuning", "full", "backbone_sweep", "imbalance"])
@pytest.mark.parametrize("backbone", WITHOUT_LINEAR_CLASSIFIER)
def test_backbones_that_cannot_be_probed_begin_with_a_random_classifier(name: str, backbone: str) -> None:
    spec = load_study(name, [f"recipe.backbone={backbone}"])
    assert heads(spec) == {"random"}
    assert spec.default_recipe()["head"] == "random"


@pytest.mark.parametrize("name", ["aug_tuning", "backbone_sweep", "full"])
def test_batch_statistics_come_with_a_random_classifier(name: str) -> None:
    """A probe's classifier fits the frozen statistics alone."""
    spec = load_study(name, ["recipe.backbone=tf_efficientnet_b2.ns_jft_in1k", "recipe.norm=batch"])
    assert heads(spec) == {"random"}
    assert not any(dimension.name == "optimizer.lr@adamw+frozen" for dimension in spec.space)


def test_the_quickstart_begins_at_random() -> None:
    recipe = Recipe.from_flat(load_study("quickstart").default_recipe())
    assert (recipe.init, recipe.head, recipe.norm) == ("scratch", "random", "batch")
