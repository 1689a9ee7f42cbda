"""Building a backbone for a recipe, with its weights, and checking that it fits."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.common.errors import BackboneError
from trainer.networks.backbones import check_backbone, pretrained_config, size_arguments

if TYPE_CHECKING:
    import torch

    from trainer.recipe.recipe import Recipe

MAX_SUGGESTED_SIZES = 4  # image sizes named when a backbone cannot take the one that was asked for


def create_backbone(recipe: Recipe, num_classes: int, *, weights_dir: Path | None) -> torch.nn.Module:
    """Build ``recipe.backbone`` with a fresh classifier of ``num_classes``, on the CPU.

    With ``recipe.init == "imagenet"`` everything but the classifier is pre-trained (see `trainer.networks.pretrained`);
    any other name than ``"scratch"`` is that of a checkpoint (`trainer.networks.custom_weights`). One that has exactly
    ``num_classes`` classes brings its classifier along. Random numbers are drawn from
    torch's global generator: seed it first. ``recipe.drop`` and ``recipe.drop_path`` are ignored where the
    architecture has no such thing.

    Raises:
        BackboneError: unknown name; weights not at hand or not fitting; or images of ``recipe.image_size`` pixels that
            the architecture cannot take (the message names sizes that it can).
    """
    from trainer.networks.custom_weights import BUILT_IN
    from trainer.networks.pretrained import load_state

    name, size = recipe.backbone, recipe.image_size
    check_backbone(name)
    arguments: dict[str, Any] = {**size_arguments(name, size)}
    if recipe.drop > 0.0:
        arguments["drop_rate"] = recipe.drop
    if recipe.drop_path > 0.0:
        arguments["drop_path_rate"] = recipe.drop_path
    state = load_state(name, weights_dir) if recipe.init == "imagenet" else None
    try:
        model = _create(name, num_classes, state, arguments)
        if recipe.init not in BUILT_IN:
            model = _create_from_named(model, recipe, num_classes, weights_dir, arguments)
        _check_output(model, size, num_classes)
    except BackboneError:
        raise
    except Exception as error:  # timm's models refuse a size with whatever their first failing line raises
        raise _misfit(name, size, num_classes, error) from error
    return model


def _create(name: str, num_classes: int, state: dict[str, Any] | None, arguments: dict[str, Any]) -> torch.nn.Module:
    import timm

    from trainer.networks.pretrained import create_pretrained

    try:
        if state is not None:
            return create_pretrained(name, state, num_classes, arguments)
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    except TypeError as error:
        unknown = next((key for key in ("drop_rate", "drop_path_rate") if f"'{key}'" in str(error)), None)
        if unknown not in arguments:
            raise
        return _create(name, num_classes, state, {key: value for key, value in arguments.items() if key != unknown})


def _create_from_named(
    fresh: torch.nn.Module, recipe: Recipe, num_classes: int, weights_dir: Path | None, arguments: dict[str, Any]
) -> torch.nn.Module:
    """As ``fresh``, which shows that the network can be built, but with the weights of the checkpoint.

    Self-supervised pre-training leaves no classifier; then it is the one of ``fresh``.
    """
    from trainer.networks.custom_weights import load_named
    from trainer.networks.layers import classifier_tensors

    state = load_named(recipe.init, weights_dir)
    classifier = classifier_tensors(fresh)
    if not classifier & state.keys():
        state.update((name, tensor) for name, tensor in fresh.state_dict().items() if name in classifier)
    try:
        return _create(recipe.backbone, num_classes, state, arguments)
    except Exception as error:  # of another network's weights each model makes its own error
        raise BackboneError(f"init = {recipe.init!r} cannot be loaded into {recipe.backbone}: {error}") from error


def _check_output(model: torch.nn.Module, size: int, num_classes: int) -> None:
    """One blank image through the network: what cannot take the size fails here rather than in the first epoch."""
    import torch

    was_training = model.training
    device = next(model.parameters()).device
    with torch.no_grad():
        scores = model.eval()(torch.zeros(1, 3, size, size, device=device))
    model.train(was_training)
    if not isinstance(scores, torch.Tensor) or scores.shape != (1, num_classes):
        raise BackboneError("this architecture gives no class scores; choose one with a classifier")


def _misfit(name: str, size: int, num_classes: int, cause: Exception) -> BackboneError:
    """Say why ``name`` cannot be built for this image size, and for which it can."""
    native = pretrained_config(name).input_size[-1]
    nearby = {size // step * step + add for step in (8, 12, 14, 16, 24, 28, 32, 48, 56, 64, 96) for add in (0, step)}
    others = sorted({native, *nearby} - {0, size}, key=lambda other: abs(other - size))
    working = islice((other for other in others if _takes(name, other, num_classes)), MAX_SUGGESTED_SIZES)
    sizes = ", ".join(map(str, sorted(working)))
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    hint = f"; sizes that it takes: {sizes}" if sizes else f"; it was made for {native}"
    return BackboneError(f"{name} cannot be built for images of {size} x {size} pixels: {reason}{hint}")


def _takes(name: str, size: int, num_classes: int) -> bool:
    """Whether ``name`` takes images of ``size`` pixels: it is run on the meta device, without memory or arithmetic."""
    import torch

    try:
        with torch.device("meta"):
            _check_output(_create(name, num_classes, None, dict(size_arguments(name, size))), size, num_classes)
    except Exception:  # as in create_backbone: whatever timm's first failing line raises is a no
        return False
    return True
