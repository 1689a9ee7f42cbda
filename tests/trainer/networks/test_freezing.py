"""Frozen layers stay the same, bit for bit; the layers above them learn."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import competition, first_fold, run
from trainer.common.errors import BackboneError
from trainer.networks.freezing import freeze, frozen_tensors, train_mode
from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel

TINY = ("test_resnet", "test_vit", "test_convnext", "test_efficientnet")
# poolformer has no groups of its own; levit has batch normalisation in its classifier.
OTHERS = ("poolformer_s12", "levit_128s", "vgg11_bn", "deit_tiny_distilled_patch16_224")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trained(changes: dict[str, Any]) -> tuple[FoldModel, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A fold after an epoch, with its evaluated tensors before and after."""
    model, data = first_fold(changes), competition()
    before = copy.deepcopy(model.evaluated.state_dict())
    rows = data.training_part(0)
    batches = [(data.pixels.train[part], data.y[part]) for part in np.array_split(rows, 3)]
    model.train_epoch(1, batches, 16)
    return model, before, model.evaluated.state_dict()


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.slow
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("backbone", TINY)
def test_only_the_classifier_learns_in_linear_probing(backbone: str, ema: float) -> None:
    model, before, after = trained({"backbone": backbone, "freeze": 1.0, "ema": ema, "drop_path": 0.1})
    classifier = {name for name in before if name.startswith(timm.get_pretrained_cfg(backbone).classifier)}
    assert moved(before, after) == classifier
    assert len(model.state()["optimizer"]["state"]) == len(classifier)  # frozen tensors have no optimizer state


@pytest.mark.parametrize("backbone", TINY)
def test_the_first_group_stays(backbone: str) -> None:
    _, before, after = trained({"backbone": backbone, "freeze_embed": True})
    stem = {
        "test_resnet": ("conv1.", "bn1."),
        "test_vit": ("patch_embed.", "pos_embed", "cls_token"),
        "test_convnext": ("stem.",),
        "test_efficientnet": ("conv_stem.", "bn1."),
    }[backbone]
    assert {name for name in before if name.startswith(stem)} == before.keys() - moved(before, after)


@pytest.mark.parametrize("backbone", TINY)
def test_a_part_is_frozen_from_the_input_up(backbone: str) -> None:
    """Statistics of batch normalisation belong to it."""
    model, before, after = trained({"backbone": backbone, "freeze": 0.5})
    stayed = before.keys() - moved(before, after)
    groups = layer_groups(model.evaluated)
    assert max(groups[name] for name in stayed) < min(groups[name] for name in moved(before, after))
    assert stayed == frozen_tensors(model.evaluated, Recipe.from_flat({"freeze": 0.5}))


@pytest.mark.parametrize("backbone", [*TINY, *OTHERS])
def test_a_larger_share_freezes_more(backbone: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=3)
    shares = [frozen_tensors(model, Recipe.from_flat({"freeze": share / 20})) for share in range(21)]
    assert all(less <= more for less, more in itertools.pairwise(shares))
    assert shares[0] == frozenset()
    classifier = classifier_tensors(model)
    everything = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    assert shares[20] == everything - classifier
    assert 0 < len(shares[10]) < len(shares[20])
    embed = frozen_tensors(model, Recipe.from_flat({"freeze_embed": True}))
    assert 0 < len(embed) < len(shares[20])
    assert embed <= shares[10]


def test_the_classifiers_own_statistics_learn() -> None:
    """All other running statistics stay the same."""
    model = timm.create_model("levit_128s", num_classes=3)
    frozen = freeze(model, Recipe.from_flat({"freeze": 1.0}))
    train_mode(model, frozen)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm1d)}
    assert {name for name, module in norms.items() if module.training} == {"head.bn", "head_dist.bn"}
    assert not any(module.training for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_frozen_layers_below_the_learning_ones_build_no_graph() -> None:
    model = timm.create_model("test_resnet", num_classes=3)
    freeze(model, Recipe.from_flat({"freeze": 0.6}))
    graphs = {}
    for name in ("layer1", "layer2", "layer3"):
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, name=name: graphs.update({name: out.requires_grad}))
    model(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert graphs == {"layer1": False, "layer2": False, "layer3": True}


@pytest.mark.slow
def test_a_frozen_network_can_be_learned_on() -> None:
    """Even random features tell the shapes apart better than guessing does."""
    result = run({"freeze": 1.0, "epochs": 6, "optimizer.lr": 0.05}, competition(150))
    assert result.status == "finished"
    assert result.reports[-1].metric > 0.5
    assert result.reports[0].train_loss > result.reports[-1].train_loss


def test_without_freezing_the_model_need_not_say_which_layer_is_its_classifier() -> None:
    model = torch.nn.Linear(4, 3)
    assert freeze(model, Recipe()) == ()
    with pytest.raises(BackboneError, match="does not say which of its layers is the classifier"):
        freeze(model, Recipe.from_flat({"freeze_embed": True}))
