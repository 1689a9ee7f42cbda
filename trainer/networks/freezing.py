"""Parts of a network that stay as they begin: the lower layers of a fine-tuning, or all but the classifier.

A frozen tensor takes no gradient, so it has no place in the optimizer, and below the lowest learning layer autograd
keeps no activations. Frozen normalisation layers also keep their running statistics: a forward pass in training mode
would move them, and then nothing would be as it began. Dropout and stochastic depth act everywhere as the recipe says.
"""

from __future__ import annotations

import torch

from trainer.networks.layers import classifier_tensors, layer_groups
from trainer.recipe.recipe import Recipe


def freeze(model: torch.nn.Module, recipe: Recipe) -> tuple[torch.nn.Module, ...]:
    """Freeze what ``recipe.freeze`` and ``recipe.freeze_embed`` say, in place.

    ``freeze`` is a share of the layer groups that hold anything besides the classifier, rounded to whole groups and
    counted from the input. ``freeze_embed`` freezes the first group: the patch embedding with what is added to it
    (class token, position embedding), or the stem (Kumar et al. 2022, "How to fine-tune vision models with SGD").
    The classifier always learns.

    Returns:
        The layers with frozen running statistics, for `train_mode`.

    Raises:
        BackboneError: something is to be frozen, and the model does not say what its classifier is.
    """
    if recipe.freeze == 0.0 and not recipe.freeze_embed:
        return ()
    names = frozen_tensors(model, recipe)
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(False)
    return tuple(
        module
        for path, module in model.named_modules()
        if any(
            name.startswith("running_") and f"{path}.{name}".removeprefix(".") in names
            for name, _ in module.named_buffers(recurse=False)
        )
    )


def frozen_tensors(model: torch.nn.Module, recipe: Recipe) -> frozenset[str]:
    """Names of the parameters and buffers that `freeze` keeps as they are."""
    learning = classifier_tensors(model)
    group_of = {name: group for name, group in layer_groups(model).items() if name not in learning}
    groups = sorted(set(group_of.values()))
    frozen = set(groups[: round(recipe.freeze * len(groups))])
    if recipe.freeze_embed:
        frozen.update(groups[:1])
    return frozenset(name for name, group in group_of.items() if group in frozen)


def train_mode(model: torch.nn.Module, frozen: tuple[torch.nn.Module, ...]) -> None:
    """Put ``model`` into training mode, but for the layers that `freeze` returned."""
    model.train()
    for module in frozen:
        module.eval()
