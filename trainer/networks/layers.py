"""The parts of a network: timm's layer groups from the input up, and the classifier on top.

Layer-wise learning rates, the classifier's own learning rate and freezing all use this division. Importing this module
is cheap.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from trainer.common.errors import BackboneError

if TYPE_CHECKING:
    import torch


def classifier_tensors(model: torch.nn.Module) -> frozenset[str]:
    """Names of the classifier's parameters and buffers; ``model.get_classifier()`` returns its layer or layers.

    Raises:
        BackboneError: the model does not say which layer is its classifier.
    """
    get_classifier: Any = getattr(model, "get_classifier", None)
    found = get_classifier() if get_classifier is not None else ()
    parts = [part for part in (found if isinstance(found, (tuple, list)) else (found,)) if part is not None]
    owned = {id(tensor) for part in parts for tensor in chain(part.parameters(), part.buffers())}
    names = frozenset(name for name, tensor in _named_tensors(model) if id(tensor) in owned)
    if not names:
        raise BackboneError(
            f"{type(model).__name__} does not say which of its layers is the classifier, so that "
            "optimizer.head_lr, freeze, tune and norm = frozen cannot be applied; leave them at 1, 0, all and batch, "
            "or choose another backbone"
        )
    return names


def layer_groups(model: torch.nn.Module) -> dict[str, int]:
    """The layer group of every parameter and buffer by name: 0 at the input, the highest number on top.

    The groups are the model's own (``group_matcher``), as timm's layer-wise decay uses them. The few models without
    them are divided into groups of a dozen parameters. A buffer belongs to the group of its layer. If its layer has no
    parameters, it belongs to the highest group in the nearest enclosing module that has some.
    """
    import timm.optim
    from timm.models import group_parameters

    matcher: Any = getattr(model, "group_matcher", None)
    cut_evenly: Any = timm.optim.auto_group_layers  # type: ignore[attr-defined]  # re-exported without saying so
    of_parameters: dict[str, int] = (
        cut_evenly(model) if matcher is None else group_parameters(model, matcher(coarse=False), reverse=True)
    )
    highest: dict[str, int] = {}
    for name, group in of_parameters.items():
        for layer in _around(name):
            highest[layer] = max(group, highest.get(layer, 0))
    of_buffers = {
        name: next(highest[layer] for layer in _around(name) if layer in highest) for name, _ in model.named_buffers()
    }
    return {**of_parameters, **of_buffers}


def _around(name: str) -> list[str]:
    """Names of the modules that contain a tensor, from its own layer to the whole model (``""``)."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(len(parts), -1, -1)]


def _named_tensors(model: torch.nn.Module) -> chain[tuple[str, torch.Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())
