"""How a network is divided from its input up: timm's own layer groups, and the classifier on top.

What layer-wise learning rates, the classifier's own rate and freezing all count by. Importing this module is cheap.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from trainer.common.errors import BackboneError

if TYPE_CHECKING:
    import torch


def classifier_tensors(model: torch.nn.Module) -> frozenset[str]:
    """Names of the classifier's parameters and buffers, as ``model.get_classifier()`` gives it: one layer or several.

    Raises:
        BackboneError: the model does not say what its classifier is.
    """
    get_classifier: Any = getattr(model, "get_classifier", None)
    found = get_classifier() if get_classifier is not None else ()
    parts = [part for part in (found if isinstance(found, (tuple, list)) else (found,)) if part is not None]
    owned = {id(tensor) for part in parts for tensor in chain(part.parameters(), part.buffers())}
    names = frozenset(name for name, tensor in _named_tensors(model) if id(tensor) in owned)
    if not names:
        raise BackboneError(
            f"{type(model).__name__} does not say which of its layers is the classifier, so that "
            "optimizer.head_lr and freeze cannot be applied; leave them at 1 and 0, or choose another backbone"
        )
    return names


def layer_groups(model: torch.nn.Module) -> dict[str, int]:
    """The layer group of every parameter and buffer by name: 0 at the input, the highest on top.

    The division is the model's own (``group_matcher``), as timm's layer-wise decay uses it; the few models without one
    are cut into groups of a dozen parameters. A buffer belongs where its layer does; that of a layer without
    parameters to the highest of the groups around it.
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
    """The layers that a tensor is in by name, from its own to the whole model (``""``)."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(len(parts), -1, -1)]


def _named_tensors(model: torch.nn.Module) -> chain[tuple[str, torch.Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())
