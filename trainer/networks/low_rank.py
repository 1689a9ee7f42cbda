"""Low-rank adapters (LoRA): Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".

A linear layer with the pre-trained weight W computes with W + (alpha / rank) up down. W stays the same; ``down``
(rank x inputs) and ``up`` (outputs x rank) learn. ``up`` begins at zero, so the network begins unchanged.

The sum is a parametrization (`torch.nn.utils.parametrize`) of the layer's ``weight``. A layer around the linear layer
would not do: EVA, BEiT, Swin V2 and others pass ``weight`` itself to `torch.nn.functional.linear` and would skip it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from typing import Any, cast

import torch
from torch.nn.utils import parametrize

from trainer.common.errors import BackboneError
from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.recipe.recipe import Recipe

LEAST_SHARE = 0.05
"""The least share of all weights in linear layers with which a network can be adapted. Some convolutional networks have
a few linear layers, as for the routing of CondConv or a relative position bias; adapting these alone changes little."""

_WHERE = ".parametrizations.weight."  # between the name of a layer and those of its tensors


class LowRank(torch.nn.Module):
    """The parametrization of one weight: float32, shape (outputs, inputs)."""

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        rank = min(rank, outputs, inputs)
        self.down = torch.nn.Parameter(weight.new_empty(rank, inputs))
        self.up = torch.nn.Parameter(weight.new_zeros(outputs, rank))
        self.scale = alpha / rank
        torch.nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        # In full precision: the layer rounds the sum once, where autocast would round both parts.
        with torch.autocast(weight.device.type, enabled=False):
            return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def add_adapters(model: torch.nn.Module, recipe: Recipe, frozen: Collection[str] = ()) -> frozenset[str]:
    """Add adapters of ``recipe.lora_rank`` to the linear layers below the classifier, in place.

    The rank of an adapter is at most the smaller side of its weight. Random numbers are drawn from torch's global
    generator.

    Args:
        frozen: names of tensors; layers whose weight is among them get no adapter.

    Returns:
        The names of the adapters' parameters.

    Raises:
        BackboneError: the network has no linear layers to adapt, or all of them are frozen.
    """
    layers = _linear_layers(model)
    if not _is_adaptable(model, layers):
        raise BackboneError(misfit(recipe.backbone))
    chosen = {path: layer for path, layer in layers.items() if f"{path}.weight" not in frozen}
    if not chosen:
        raise BackboneError(
            f"freeze = {recipe.freeze:g} freezes every linear layer of {recipe.backbone}, so that tune = lora has none "
            "to adapt; lower freeze, or set tune = all"
        )
    _keep_groups(model)
    for layer in chosen.values():
        adapter = LowRank(layer.weight.detach(), recipe.lora_rank, recipe.lora_alpha)
        parametrize.register_parametrization(layer, "weight", adapter)
    return frozenset(f"{path}{_WHERE}0.{name}" for path in chosen for name in ("down", "up"))


def _keep_groups(model: torch.nn.Module) -> None:
    """Let each adapter join the layer group of its weight (`trainer.networks.layers`), and all others keep theirs.

    Without its own ``group_matcher``, timm would cut a network into groups of a dozen parameters, adapters included.
    """
    groups = layer_groups(model)

    def group_of(name: str) -> int:
        path, adapted, _ = name.partition(_WHERE)
        return groups[f"{path}.weight" if adapted else name]

    network: Any = model
    network.group_matcher = lambda coarse=False: group_of


def merged_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of ``model`` with its adapters added to the weights: that of a network without adapters."""
    state = {}
    for name, tensor in model.state_dict().items():
        path, adapted, part = name.partition(_WHERE)
        if not adapted:
            state[name] = tensor
        elif part == "original":
            state[f"{path}.weight"] = cast("torch.Tensor", model.get_submodule(path).weight).detach()
    return state


@functools.cache
def takes_adapters(backbone: str) -> bool:
    """Whether `add_adapters` finds linear layers in a timm model; it is built on torch's meta device, without memory.

    Raises:
        BackboneError: the model does not say which layer is its classifier.
    """
    import timm

    with torch.device("meta"):
        model = timm.create_model(backbone.partition(".")[0])
    return _is_adaptable(model, _linear_layers(model))


def misfit(backbone: str) -> str:
    """Why a backbone has no low-rank adapters, and what is possible instead."""
    return (
        f"tune = lora adapts linear layers, of which {backbone} has none or few: it is built of convolutions; choose a "
        "transformer, such as vit_small_patch16_224.augreg_in21k_ft_in1k, or set tune = bias_norm or all"
    )


def _linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """The linear layers by path, without the classifier and the rest of its head, which hardly extracts features."""
    classifier = classifier_tensors(model)
    heads = {name.partition(".")[0] for name in classifier}
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear)
        and path.partition(".")[0] not in heads
        and not parametrize.is_parametrized(layer)
    }


def _is_adaptable(model: torch.nn.Module, layers: dict[str, torch.nn.Linear]) -> bool:
    every = sum(parameter.numel() for parameter in model.parameters())
    return sum(layer.weight.numel() for layer in layers.values()) >= LEAST_SHARE * every
