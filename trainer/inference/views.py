"""Test-time views of a batch, and a network's probabilities for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .images import Normaliser

if TYPE_CHECKING:
    import torch

ZOOM = 7 / 8  # side of the middle that a zoomed view shows, as a share of the whole image's


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to look at a batch of pixels."""

    flipped: tuple[int, ...] = ()
    """Axes of the (n, 3, height, width) batch that are reversed."""
    zoomed: bool = False
    """Whether only the middle is seen, enlarged bilinearly to the size of the whole; see `ZOOM`."""

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """The batch, float (n, 3, height, width), as this view shows it: of the same shape."""
        seen = _middle(pixels) if self.zoomed else pixels
        return seen.flip(self.flipped) if self.flipped else seen


VIEWS: dict[str, View] = {
    "identity": View(),
    "hflip": View(flipped=(3,)),
    "vflip": View(flipped=(2,)),
    "hvflip": View(flipped=(2, 3)),
    "zoom": View(zoomed=True),
    "hflip_zoom": View(flipped=(3,), zoomed=True),
}
"""Test-time views."""

TTA: dict[str, tuple[str, ...]] = {
    "none": ("identity",),
    "hflip": ("identity", "hflip"),
    "flips": ("identity", "hflip", "vflip", "hvflip"),
    "zoom": ("identity", "zoom"),
    "hflip_zoom": ("identity", "hflip", "zoom", "hflip_zoom"),
}
"""Test-time augmentation modes: the views whose probabilities are averaged."""


def _middle(pixels: torch.Tensor) -> torch.Tensor:
    import torch

    height, width = pixels.shape[2:]
    # The same on both sides, so that flipping and zooming may be done in either order.
    top, left = (min(max(1, round(side * (1 - ZOOM) / 2)), (side - 1) // 2) for side in (height, width))
    middle = pixels[:, :, top : height - top, left : width - left]
    return torch.nn.functional.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


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
) -> dict[str, NDArray[np.float32]]:
    """Softmax probabilities of uint8 images (n, s, s, 3), per view of `VIEWS`: float32 (n, classes).

    ``model`` is on ``device`` already and is handed back in the mode, training or not, in which it came. It computes in
    full float32 (no autocast, no TF32), or in a lower ``precision`` where one is given and that is safe.
    """
    import torch

    parts: dict[str, list[torch.Tensor]] = {view: [] for view in views}
    normaliser = Normaliser(mean, std, images.shape[2], device)
    was_training = model.training
    model.eval()
    cudnn = torch.backends.cudnn
    try:
        with (
            torch.no_grad(),  # not inference_mode: what a network caches here must still serve its training
            torch.autocast(torch.device(device).type, dtype=precision, enabled=precision is not None),
            cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            for start in range(0, max(len(images), 1), batch_size):  # an empty set makes one empty batch
                batch = np.array(images[start : start + batch_size])  # a copy: images may be a read-only memory map
                pixels = normaliser(torch.from_numpy(batch).to(device))
                for view in views:
                    logits = model(VIEWS[view].of(pixels))
                    parts[view].append(logits.float().softmax(dim=1))
    finally:
        model.train(was_training)
    # One wait for the device, not one a batch.
    return {view: torch.cat(batches).cpu().numpy() for view, batches in parts.items()}
