"""Summary statistics of the images of a data set: mean and standard deviation of the colours, typical size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.common.environment import usable_cores
from trainer.data.images import Images

SAMPLE = 200  # images that are decoded, at most
MAX_PIXELS = 2**16  # pixels of one image that are used; a larger image is subsampled on a grid


@dataclass(frozen=True, kw_only=True)
class ImageStatistics:
    """Statistics over a sample of images. Each image counts equally, whatever its size."""

    mean: tuple[float, ...]
    """Mean of red, green and blue, each in 0..1."""
    std: tuple[float, ...]
    """Standard deviation of red, green and blue over all pixels, each in 0..1."""
    side: float
    """Geometric mean of all heights and widths, in pixels."""

    def to_dict(self) -> dict[str, Any]:
        """The statistics as plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> ImageStatistics:
        """The reverse of `to_dict`."""
        return ImageStatistics(mean=tuple(stored["mean"]), std=tuple(stored["std"]), side=stored["side"])


def image_statistics(images: Images, sample: int = SAMPLE) -> ImageStatistics:
    """Measure up to ``sample`` images, spread evenly over the sequence.

    Raises:
        trainer.inference.errors.ImageError: an image cannot be read.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(sample, len(images))).round().astype(int))

    def moments_of(index: int) -> NDArray[np.float64]:
        """Mean and mean square of each channel, and the logarithm of the geometric mean of height and width."""
        image = images.read(int(index))
        area = image.shape[0] * image.shape[1]
        step = max(1, math.isqrt(area // MAX_PIXELS))
        pixels = image[::step, ::step].reshape(-1, 3) / 255.0
        return np.concatenate([pixels.mean(axis=0), (pixels**2).mean(axis=0), [math.log(area) / 2]])

    with ThreadPoolExecutor(usable_cores()) as pool:
        moments: NDArray[np.float64] = np.mean(list(pool.map(moments_of, chosen)), axis=0)
    mean, square = moments[:3], moments[3:6]
    std: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0.0))
    return ImageStatistics(
        mean=tuple(mean.round(4).tolist()), std=tuple(std.round(4).tolist()), side=round(math.exp(moments[6]), 1)
    )
