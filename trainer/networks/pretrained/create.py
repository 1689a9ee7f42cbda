"""Build networks that begin with pre-trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.common.errors import BackboneError
from trainer.formats.weights.problems import misfit_because
from trainer.networks.resampling import resample_positions

if TYPE_CHECKING:
    import torch

LOOSE = ("dla", "mobilenetv5")
"""Prefixes of architectures that timm loads without checking that no weight is missing; `create_pretrained` checks."""


def create_pretrained(
    name: str, state: Mapping[str, torch.Tensor], num_classes: int, arguments: Mapping[str, Any]
) -> torch.nn.Module:
    """Build ``name`` with the weights in ``state``, which must be exactly those of the network.

    For images of another size, position parameters are resampled: by timm, or else by `trainer.networks.resampling`.

    The network is first built with as many classes as ``state`` has, so that timm can load it strictly. If
    ``num_classes`` differs, the classifier is then replaced by a random one.

    Args:
        arguments: further keyword arguments of `timm.create_model`.

    Raises:
        BackboneError: weights are missing, unexpected, or of another shape.
        TypeError, AssertionError and others: `timm.create_model` does not accept ``arguments``.
    """
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None:
        raise BackboneError(f"timm has no configuration for {name}")
    classifier = config.classifier[0] if isinstance(config.classifier, (tuple, list)) else config.classifier
    head = state.get(f"{classifier}.weight")
    file_classes = config.num_classes if head is None else len(head)
    # Without a label offset: timm would use it to drop a background class from the head. Here the head is loaded
    # unchanged, or replaced.
    overlay = {"state_dict": dict(state), "num_classes": file_classes, "label_offset": 0}

    def loaded(**size: Any) -> torch.nn.Module:
        built: torch.nn.Module = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=dict(overlay), num_classes=file_classes, **size
        )
        return built

    try:
        try:
            model = loaded(**arguments)
        except RuntimeError:
            if "img_size" not in arguments:
                raise
            # timm resamples the position parameters of most networks, not of all.
            model = timm.create_model(name, pretrained=False, num_classes=file_classes, **arguments)
            at_its_size = {key: value for key, value in arguments.items() if key != "img_size"}
            source = state if state.keys() >= model.state_dict().keys() else loaded(**at_its_size).state_dict()
            model.load_state_dict(resample_positions(source, model.state_dict()))
    except (RuntimeError, KeyError) as error:
        raise BackboneError(f"the weights do not fit {name}: {misfit_because(error)}") from error
    missing = set(model.state_dict()) - set(state) if name.startswith(LOOSE) else set()
    if missing:
        raise BackboneError(f"the weights do not fit {name}: {len(missing)} are missing, such as {min(missing)}")
    pretrained_cfg: Any = model.pretrained_cfg
    pretrained_cfg.pop("state_dict", None)  # timm keeps the loaded weights there, which would double the memory
    if num_classes != file_classes:
        if not hasattr(model, "reset_classifier"):
            raise BackboneError(f"{name} is an encoder without a classifier; choose an architecture that has one")
        reset: Any = model.reset_classifier
        reset(num_classes)
    return model
