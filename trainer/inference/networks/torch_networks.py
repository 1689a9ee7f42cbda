"""Predictions of a member's networks with torch and timm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..model_folder import Member, ModelFolder
from ..printable import cause_of
from .views import predict_views

if TYPE_CHECKING:
    import torch


def predict_member(
    model: ModelFolder,
    member: Member,
    images: NDArray[np.uint8],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Probabilities of one member, averaged over its networks and views: float64 (n, C).

    Args:
        images: uint8 (n, size, size, 3), resized as `Member.form` says.
        on_batch: called after each batch with its number of images, times the networks that have predicted it.

    Raises:
        ModelError: the weights do not fit the backbone that the installed timm builds, or the probabilities are not
            finite.
    """
    import timm

    from .in_turn import load_in_turn

    total = np.zeros((len(images), member.classes))
    try:
        network = timm.create_model(
            member.backbone, pretrained=False, num_classes=member.classes, **member.model_args
        ).to(device)
        for loaded, networks in load_in_turn(network, map(read_weights, member.weights), member.size):
            views = predict_views(
                loaded, images, mean=member.mean, std=member.std, views=member.views, batch_size=batch_size,
                device=device, several_labels=model.blend.several_labels,
                on_batch=None if on_batch is None else _times(on_batch, networks),
            )  # fmt: skip
            total += networks * np.sum(list(views.values()), axis=0, dtype=np.float64)
    except MemoryError as error:
        raise ModelError(
            f"the memory does not suffice for {member.backbone}: predict fewer images at a time"
        ) from error
    except Exception as error:  # timm and safetensors raise many types for settings and weights that do not fit
        hint = f"the model was exported with timm {model.timm_version}; timm {timm.__version__} is installed"
        raise ModelError(f"{member.backbone} cannot predict: {cause_of(error)} ({hint})") from error
    if not np.isfinite(total).all():
        raise ModelError(f"the weights of {member.backbone} predict values that are not finite")
    return total / (len(member.weights) * len(member.views))


def _times(on_batch: Callable[[int], None], networks: int) -> Callable[[int], None]:
    return lambda count: on_batch(networks * count)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a safetensors file."""
    from safetensors.torch import load, load_file

    try:
        str(path).encode()
    except UnicodeEncodeError:  # safetensors opens no file whose path is not UTF-8
        return load(path.read_bytes())
    return load_file(path)
