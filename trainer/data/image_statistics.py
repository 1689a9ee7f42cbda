"""What the pictures of a data set are like, in a few numbers: how bright, how varied, how large."""

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

SAMPLE = 200  # pictures that are looked at, at most
MAX_PIXELS = 2**16  # of a picture: of larger ones a grid of pixels stands for all


@dataclass(frozen=True, kw_only=True)
class PictureStatistics:
    """Of a sample of pictures, each counting equally whatever its size."""

    mean: tuple[float, ...]
    """Of red, green and blue, each 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation over all pixels, likewise."""
    side: float
    """Geometric mean of all heights and widths, pixels."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> PictureStatistics:
        """The reverse of `to_dict`."""
        return PictureStatistics(mean=tuple(stored["mean"]), std=tuple(stored["std"]), side=stored["side"])


def picture_statistics(images: Images, sample: int = SAMPLE) -> PictureStatistics:
    """Look at ``sample`` pictures, evenly spread over all of them, or at all where there are fewer.

    Raises:
        trainer.inference.images.ImageError: a picture cannot be read.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(sample, len(images))).round().astype(int))

    def look(index: int) -> NDArray[np.float64]:
        picture = images.read(int(index))
        area = picture.shape[0] * picture.shape[1]
        step = max(1, math.isqrt(area // MAX_PIXELS))
        pixels = picture[::step, ::step].reshape(-1, 3) / 255.0
        return np.concatenate([pixels.mean(axis=0), (pixels**2).mean(axis=0), [math.log(area) / 2]])

    with ThreadPoolExecutor(usable_cores()) as pool:
        moments: NDArray[np.float64] = np.mean(list(pool.map(look, chosen)), axis=0)
    mean, square = moments[:3], moments[3:6]
    std: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0.0))
    return PictureStatistics(
        mean=tuple(mean.round(4).tolist()), std=tuple(std.round(4).tolist()), side=round(math.exp(moments[6]), 1)
    )
