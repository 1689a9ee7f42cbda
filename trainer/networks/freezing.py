"""Partial fine-tuning: parts of a network keep their initial weights.

Two settings choose what learns below the classifier; a weight learns if both let it. ``freeze`` and ``freeze_embed``
freeze layers from the input up. ``tune`` chooses among the weights of a layer:

- ``all``: every weight.
- ``bias_norm``: biases, and the scales and shifts of normalisation layers (Ben Zaken et al. 2022, "BitFit"; Cai et al.
  2020, "TinyTL", for convolutional networks).
- ``lora``: no weight of the layer, but low-rank adapters of the linear layers (`trainer.networks.low_rank`).

A frozen tensor has no gradient and no optimizer state, and below the lowest trainable layer autograd keeps no
activations. Normalisation layers that ``freeze`` selects run in evaluation mode, because in training mode a forward
pass would change their running statistics. Dropout and stochastic depth act in all layers, as the recipe says.

With ``norm = "frozen"`` all normalisation layers below the classifier keep their running statistics, and normalise by
them in training too; their scales and shifts learn where the layer itself is not frozen. The network then begins with
the outputs that it has in evaluation mode, whatever the batch.
"""

from __future__ import annotations

import torch

from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.networks.low_rank import add_adapters
from trainer.recipe.recipe import BIAS_NORM, LORA, Recipe


def freeze(model: torch.nn.Module, recipe: Recipe) -> tuple[torch.nn.Module, ...]:
    """Freeze what ``recipe`` does not let learn, and add the adapters of ``tune = "lora"``, in place.

    ``freeze`` is a share of the layer groups below the classifier, rounded to whole groups and counted from the input.
    ``freeze_embed`` freezes the first group: the stem, or the patch embedding with the class token and position
    embedding (Kumar et al. 2022, "How to fine-tune vision models with SGD"). ``norm = "frozen"`` freezes running
    statistics only. The classifier is never frozen, nor are its statistics: no earlier training has made them.

    Call it before the network moves to its device: adapters draw random numbers from the generator of the present one.

    Returns:
        The layers with frozen running statistics, for `train_mode`.

    Raises:
        BackboneError: something is to be frozen, but the model does not say which layer is its classifier; or
            ``tune = "lora"`` finds no linear layers.
    """
    if recipe.freeze == 0.0 and not recipe.freeze_embed and recipe.norm == "batch" and recipe.tune == "all":
        return ()
    names = frozen_tensors(model, recipe)
    learning = _learning_tensors(model, recipe, names) - names
    for name, parameter in model.named_parameters():
        if name not in learning:
            parameter.requires_grad_(False)
    if recipe.norm == "frozen":
        names |= {name for name, _ in model.named_buffers()} - classifier_tensors(model)
    return tuple(
        module
        for path, module in model.named_modules()
        if any(
            name.startswith("running_") and f"{path}.{name}".removeprefix(".") in names
            for name, _ in module.named_buffers(recurse=False)
        )
    )


def frozen_tensors(model: torch.nn.Module, recipe: Recipe) -> frozenset[str]:
    """Names of the parameters and buffers in the layer groups that ``recipe.freeze`` and ``freeze_embed`` freeze."""
    classifier = classifier_tensors(model)
    group_of = {name: group for name, group in layer_groups(model).items() if name not in classifier}
    groups = sorted(set(group_of.values()))
    frozen = set(groups[: round(recipe.freeze * len(groups))])
    if recipe.freeze_embed:
        frozen.update(groups[:1])
    return frozenset(name for name, group in group_of.items() if group in frozen)


def _learning_tensors(model: torch.nn.Module, recipe: Recipe, frozen: frozenset[str]) -> frozenset[str]:
    """Names of the parameters that ``recipe.tune`` lets learn; adds the adapters of ``"lora"``."""
    if recipe.tune == LORA:
        return add_adapters(model, recipe, frozen) | classifier_tensors(model)
    if recipe.tune == BIAS_NORM:
        return _biases_and_norms(model) | classifier_tensors(model)
    return frozenset(name for name, _ in model.named_parameters())


def _biases_and_norms(model: torch.nn.Module) -> frozenset[str]:
    """Names of the biases, and of the scales and shifts of normalisation layers: vectors, no matrices.

    A normalisation layer is one whose class says so: torch's and timm's have no base class in common.
    """
    return frozenset(
        f"{path}.{name}".removeprefix(".")
        for path, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim <= 1 and (name == "bias" or name.endswith("_bias") or "norm" in type(module).__name__.lower())
    )


def train_mode(model: torch.nn.Module, frozen: tuple[torch.nn.Module, ...]) -> None:
    """Put ``model`` into training mode, except for the layers that `freeze` returned."""
    model.train()
    for module in frozen:
        module.eval()
