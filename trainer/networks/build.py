"""Building the backbone of a recipe with its initial weights, and checking that it takes the images."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.common.errors import BackboneError
from trainer.inference.printable import cause_of
from trainer.networks.backbones import check_backbone, pretrained_config, size_arguments

if TYPE_CHECKING:
    import torch

    from trainer.recipe.recipe import Recipe

MAX_SUGGESTED_SIZES = 4  # image sizes suggested when a backbone cannot take the requested one


def create_backbone(recipe: Recipe, num_classes: int, *, weights_dir: Path | None) -> torch.nn.Module:
    """Build ``recipe.backbone`` with a classifier for ``num_classes``, on the CPU.

    The initial weights depend on ``recipe.init``:

    - ``"scratch"``: all weights are random;
    - ``"pretrained"``: pre-trained weights, see `trainer.networks.pretrained`;
    - any other name: that of a custom checkpoint, see `trainer.networks.custom_weights`.

    The classifier is random, unless the pre-trained weights or the checkpoint have one of exactly ``num_classes``
    classes. Random numbers are drawn from torch's global generator: seed it first. ``recipe.drop`` and
    ``recipe.drop_path`` are ignored if the architecture does not support them.

    Raises:
        BackboneError: unknown name; weights that are not at hand or do not fit; or the architecture cannot take images
            of ``recipe.image_size`` pixels (the message suggests sizes that it can).
    """
    from trainer.networks.custom_weights import BUILT_IN
    from trainer.networks.pretrained.load_weights import load_pretrained_weights

    name, size = recipe.backbone, recipe.image_size
    check_backbone(name)
    arguments: dict[str, Any] = {**size_arguments(name, size)}
    if recipe.drop > 0.0:
        arguments["drop_rate"] = recipe.drop
    if recipe.drop_path > 0.0:
        arguments["drop_path_rate"] = recipe.drop_path
    state = load_pretrained_weights(name, weights_dir) if recipe.init == "pretrained" else None
    try:
        model = _create(name, num_classes, state, arguments)
        if recipe.init not in BUILT_IN:
            model = _create_from_custom_weights(model, recipe, num_classes, weights_dir, arguments)
        _check_output(model, size, num_classes)
    except BackboneError:
        raise
    except Exception as error:  # models raise exceptions of any type when a size does not fit
        raise _misfit(name, size, num_classes, error) from error
    return model


def _create(name: str, num_classes: int, state: dict[str, Any] | None, arguments: dict[str, Any]) -> torch.nn.Module:
    import timm

    from trainer.networks.pretrained.create import create_pretrained

    try:
        if state is not None:
            return create_pretrained(name, state, num_classes, arguments)
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)
    except TypeError as error:
        unknown = next((key for key in ("drop_rate", "drop_path_rate") if f"'{key}'" in str(error)), None)
        if unknown not in arguments:
            raise
        return _create(name, num_classes, state, {key: value for key, value in arguments.items() if key != unknown})


def _create_from_custom_weights(
    fresh: torch.nn.Module, recipe: Recipe, num_classes: int, weights_dir: Path | None, arguments: dict[str, Any]
) -> torch.nn.Module:
    """Build the network of ``fresh`` again, with the weights of the custom checkpoint.

    ``fresh`` shows that the network can be built, so a failure here is due to the checkpoint. A checkpoint without a
    classifier, as self-supervised pre-training writes it, gets the classifier of ``fresh``.
    """
    from trainer.networks.custom_weights import load_custom_weights
    from trainer.networks.layers import classifier_tensors

    state = load_custom_weights(recipe.init, recipe.backbone, weights_dir)
    classifier = classifier_tensors(fresh)
    if not classifier & state.keys():
        state.update((name, tensor) for name, tensor in fresh.state_dict().items() if name in classifier)
    try:
        return _create(recipe.backbone, num_classes, state, arguments)
    except Exception as error:  # models raise exceptions of any type for the weights of another network
        raise BackboneError(
            f"init = {recipe.init!r} cannot be loaded into {recipe.backbone}: {cause_of(error)}"
        ) from error


def _check_output(model: torch.nn.Module, size: int, num_classes: int) -> None:
    """Run one blank image, so that a network that cannot take the size fails here and not in the first epoch."""
    import torch

    was_training = model.training
    device = next(model.parameters()).device
    with torch.no_grad():
        scores = model.eval()(torch.zeros(1, 3, size, size, device=device))
    model.train(was_training)
    if not isinstance(scores, torch.Tensor) or scores.shape != (1, num_classes):
        raise BackboneError("this architecture gives no class scores; choose one with a classifier")


def _misfit(name: str, size: int, num_classes: int, cause: Exception) -> BackboneError:
    """The error that explains why ``name`` cannot be built for this image size, and suggests sizes that it takes."""
    native = pretrained_config(name).input_size[-1]
    nearby = {size // step * step + add for step in (8, 12, 14, 16, 24, 28, 32, 48, 56, 64, 96) for add in (0, step)}
    others = sorted({native, *nearby} - {0, size}, key=lambda other: abs(other - size))
    working = islice((other for other in others if _takes(name, other, num_classes)), MAX_SUGGESTED_SIZES)
    sizes = ", ".join(map(str, sorted(working)))
    reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    hint = f"; sizes that it takes: {sizes}" if sizes else f"; it was made for {native}"
    return BackboneError(f"{name} cannot be built for images of {size} x {size} pixels: {reason}{hint}")


def _takes(name: str, size: int, num_classes: int) -> bool:
    """Whether ``name`` takes images of ``size`` pixels; tried on torch's meta device, without memory or arithmetic."""
    import torch

    try:
        with torch.device("meta"):
            _check_output(_create(name, num_classes, None, dict(size_arguments(name, size))), size, num_classes)
    except Exception:  # as in create_backbone: models raise exceptions of any type when a size does not fit
        return False
    return True
