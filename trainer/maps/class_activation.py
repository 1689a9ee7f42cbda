"""Class-activation maps by gradient times activation (HiResCAM).

Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks" (arXiv 2011.08891). The map is the sum over the channels of gradient times activation, of which the positive
part is kept. Where the mean over all places follows, as in most convolutional networks, this is Grad-CAM (Selvaraju et
al. 2017) and the first class-activation map (Zhou et al. 2016). With attention, Grad-CAM's mean gradient would mix
places of different attention.

The score of a class is its logit above the mean logit of all classes, because softmax ignores what all logits share.
Where images may have several labels, it is the logit of the label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trainer.common.arrays import Float32Array
from trainer.inference.images import Normaliser
from trainer.inference.networks.views import full_float32
from trainer.maps.errors import NoMap
from trainer.maps.grids import Place, class_score, find_place, outputs_of, to_grid


class MapDrawer:
    """Draws maps of the networks of one recipe, one image at a time, which bounds the memory.

    Args:
        mean, std: normalisation of the networks, as in `trainer.inference.images.Normaliser`.
        size: side of their images, in pixels.
        device: of the networks.
        several_labels: whether images may have several labels.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: int,
        device: torch.device | str,
        several_labels: bool = False,
    ) -> None:
        self._normalise = Normaliser(mean, std, size, device)
        self._device, self._several_labels = device, several_labels
        self._place: Place | None = None

    def draw(self, model: torch.nn.Module, image: NDArray[np.uint8], label: int) -> Float32Array:
        """The map of a class: float32 ``(side, side)``, 0 .. 1, the largest value 1; all 0 if nothing speaks for it.

        Args:
            model: a network on the device, in evaluation mode. The first call finds the layer, which then stays.
            image: uint8 ``(size, size, 3)``.

        Raises:
            NoMap: the network has no layer to read a map from.
        """
        pixels = self._normalise(torch.from_numpy(np.array(image))[None].to(self._device))
        with full_float32(deterministic=True):
            if self._place is None:
                self._place = find_place(model, pixels, label, several_labels=self._several_labels)
            return _map(model, pixels, label, self._place, several_labels=self._several_labels)


def _map(
    model: torch.nn.Module, pixels: torch.Tensor, label: int, place: Place, *, several_labels: bool
) -> Float32Array:
    with torch.enable_grad(), outputs_of(model, place.layer) as found:
        scores = model(pixels.clone().requires_grad_())
    values = found[place.layer, place.call]
    (gradient,) = torch.autograd.grad(class_score(scores, label, several_labels=several_labels), [values])
    products = to_grid((values * gradient).detach(), place.prefix)
    assert products is not None, "the layer was chosen because its output is a grid"
    positive = products.sum(dim=0).clamp(min=0.0)
    highest = positive.max()
    if not torch.isfinite(highest):
        raise NoMap("its values are not finite")
    scaled = positive / highest if highest > 0 else positive
    result: Float32Array = scaled.float().cpu().numpy()
    return result


def fit_to_image(found: Float32Array, height: int, width: int, resize: str) -> Float32Array:
    """A map of the square that the network saw, as a map of the whole image: float32 ``(height, width)``, 0 .. 1.

    Args:
        found: ``(side, side)``, 0 .. 1.
        resize: how the image became square, as in `trainer.inference.images.resize_image`. The margins that "crop"
            leaves out are 0.
    """
    longer, shorter = max(height, width), min(height, width)
    if resize == "pad":
        square = _scaled(found, longer, longer)
        top, left = (longer - height) // 2, (longer - width) // 2
        return square[top : top + height, left : left + width]
    if resize == "crop":
        whole = np.zeros((height, width), np.float32)
        top, left = (height - shorter) // 2, (width - shorter) // 2
        whole[top : top + shorter, left : left + shorter] = _scaled(found, shorter, shorter)
        return whole
    return _scaled(found, height, width)


def _scaled(found: Float32Array, height: int, width: int) -> Float32Array:
    enlarged = Image.fromarray(found).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.float32).clip(0.0, 1.0)
