"""Freezing: parts of a network keep their initial weights, such as the lower layers or all but the classifier.

A frozen tensor has no gradient and no optimizer state, and below the lowest trainable layer autograd keeps no
activations. Frozen normalisation layers run in evaluation mode, because in training mode a forward pass would change
their running statistics. Dropout and stochastic depth act in all layers, as the recipe says.

With ``norm = "frozen"`` all normalisation layers below the classifier keep their running statistics, and normalise by
them in training too; their scales and shifts learn where the layer itself is not frozen. The network then begins with
the outputs that it has in evaluation mode, whatever the batch.
"""

from __future__ import annotations

import torch

from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.recipe.recipe import Recipe


def freeze(model: torch.nn.Module, recipe: Recipe) -> tuple[torch.nn.Module, ...]:
    """Freeze the parts that ``recipe.freeze``, ``recipe.freeze_embed`` and ``recipe.norm`` select, in place.

    ``freeze`` is a share of the layer groups below the classifier, rounded to whole groups and counted from the input.
    ``freeze_embed`` freezes the first group: the stem, or the patch embedding with the class token and position
    embedding (Kumar et al. 2022, "How to fine-tune vision models with SGD"). ``norm = "frozen"`` freezes running
    statistics only. The classifier is never frozen, nor are its statistics: no earlier training has made them.

    Returns:
        The layers with frozen running statistics, for `train_mode`.

    Raises:
        BackboneError: something is to be frozen, but the model does not say which layer is its classifier.
    """
    if recipe.freeze == 0.0 and not recipe.freeze_embed and recipe.norm == "batch":
        return ()
    names = frozen_tensors(model, recipe)
    for name, parameter in model.named_parameters():
        if name in names:
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
    """Names of the parameters and buffers that `freeze` freezes."""
    classifier = classifier_tensors(model)
    group_of = {name: group for name, group in layer_groups(model).items() if name not in classifier}
    groups = sorted(set(group_of.values()))
    frozen = set(groups[: round(recipe.freeze * len(groups))])
    if recipe.freeze_embed:
        frozen.update(groups[:1])
    return frozenset(name for name, group in group_of.items() if group in frozen)


def train_mode(model: torch.nn.Module, frozen: tuple[torch.nn.Module, ...]) -> None:
    """Put ``model`` into training mode, except for the layers that `freeze` returned."""
    model.train()
    for module in frozen:
        module.eval()
