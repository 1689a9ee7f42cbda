"""Test-time augmentation: flipped and zoomed views of a batch, and a network's probabilities for each view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..images import Normaliser

if TYPE_CHECKING:
    import torch

ZOOM = 7 / 8  # share of the image's side that a zoomed view shows


@dataclass(frozen=True, kw_only=True)
class View:
    """One transformation of a batch of images."""

    flipped: tuple[int, ...] = ()
    """Reversed axes of the batch, (n, 3, height, width): 2 is vertical, 3 is horizontal."""
    zoomed: bool = False
    """Whether the view shows only the middle (see `ZOOM`), enlarged bilinearly to the size of the image."""

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Apply the view to a batch, float (n, 3, height, width); the shape stays the same."""
        zoomed = _middle(pixels) if self.zoomed else pixels
        return zoomed.flip(self.flipped) if self.flipped else zoomed


VIEWS: dict[str, View] = {
    "identity": View(),
    "hflip": View(flipped=(3,)),
    "vflip": View(flipped=(2,)),
    "hvflip": View(flipped=(2, 3)),
    "zoom": View(zoomed=True),
    "hflip_zoom": View(flipped=(3,), zoomed=True),
}
"""Test-time views by name."""

TTA: dict[str, tuple[str, ...]] = {
    "none": ("identity",),
    "hflip": ("identity", "hflip"),
    "flips": ("identity", "hflip", "vflip", "hvflip"),
    "zoom": ("identity", "zoom"),
    "hflip_zoom": ("identity", "hflip", "zoom", "hflip_zoom"),
}
"""The views that each test-time augmentation mode averages, by the name of the mode."""


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    """The middle of each image, enlarged to the size of the image."""
    import torch

    height, width = pixels.shape[2:]
    # Equal margins on both sides, so that flipping and zooming commute.
    top, left = (min(max(1, round(side * (1 - ZOOM) / 2)), (side - 1) // 2) for side in (height, width))
    middle = pixels[:, :, top : height - top, left : width - left]
    return torch.nn.functional.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def probabilities_of(logits: torch.Tensor, several_labels: bool, *, apart: bool = False) -> torch.Tensor:
    """Probabilities float32 (n, C) of a network's output: a softmax, or of several labels a sigmoid for each.

    Args:
        logits: (n, C), or (n, networks, C) of several networks or classifiers, whose probabilities are averaged.
        apart: keep the probabilities of several networks: (n, networks, C).
    """
    proba = logits.float().sigmoid() if several_labels else logits.float().softmax(dim=-1)
    return proba if apart or proba.ndim == 2 else proba.mean(dim=1)


@contextmanager
def full_float32(*, benchmark: bool = False, deterministic: bool = False) -> Iterator[None]:
    """Compute float32 on NVIDIA GPUs as float32, without TF32, in convolutions and matrix products alike.

    torch allows TF32 in convolutions, and in matrix products where TORCH_ALLOW_TF32_CUBLAS_OVERRIDE is set, as
    NVIDIA's containers do. This block is the only place that decides. Afterwards the settings are as before.

    Args:
        benchmark: let cuDNN try which algorithm is the fastest for each new shape.
        deterministic: let cuDNN use deterministic algorithms only.
    """
    import torch

    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with cudnn.flags(enabled=cudnn.enabled, benchmark=benchmark, deterministic=deterministic, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def predict_views(
    model: torch.nn.Module,
    images: NDArray[np.uint8],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    views: Sequence[str] = ("identity",),
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    precision: torch.dtype | None = None,
    several_labels: bool = False,
    apart: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Probabilities of images for each view: float32 (n, classes) by name of the view.

    Args:
        model: a network on ``device``. Its mode (training or evaluation) is restored at the end.
        images: uint8 (n, s, s, 3).
        mean, std: normalisation of red, green and blue, see `Normaliser`.
        views: keys of `VIEWS`.
        batch_size: images per forward pass.
        device: where the network computes.
        precision: type for autocast. None computes in float32 (`full_float32`).
        several_labels: whether an image may have several labels: probabilities are sigmoids, not a softmax.
        apart: as in `probabilities_of`: (n, networks, classes).
        on_batch: called after each batch with its number of images.
    """
    import torch

    parts: dict[str, list[torch.Tensor]] = {view: [] for view in views}
    normaliser = Normaliser(mean, std, images.shape[2], device)
    was_training = model.training
    model.eval()
    try:
        with (
            torch.no_grad(),  # not inference_mode: tensors that the network caches here must stay usable in training
            torch.autocast(torch.device(device).type, dtype=precision, enabled=precision is not None),
            full_float32(deterministic=True),
        ):
            for start in range(0, max(len(images), 1), batch_size):  # one empty batch if there are no images
                batch = np.array(images[start : start + batch_size])  # a copy: images may be a read-only memory map
                pixels = normaliser(torch.from_numpy(batch).to(device))
                for view in views:
                    logits = model(VIEWS[view].of(pixels))
                    parts[view].append(probabilities_of(logits, several_labels, apart=apart))
                if on_batch is not None:
                    on_batch(len(batch))
    finally:
        model.train(was_training)
    # Wait for the device once, not once for each batch.
    return {view: torch.cat(batches).cpu().numpy() for view, batches in parts.items()}
