"""The images that are most like some given ones, by features of a frozen backbone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.probing.look_alikes import centred_directions


def nearest_images(features: Float32Array, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The nearest other images of each of ``rows``, by the cosine of their centred features, the nearest first.

    Args:
        features: finite, shape (n, d).
        rows: indices of images: int64, shape (s,).

    Returns:
        Indices of images: int64, shape (s, min(count, n - 1)).
    """
    directions = centred_directions(features)
    cosines = directions[rows] @ directions.T
    cosines[np.arange(len(rows)), rows] = -np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, len(features) - 1)].astype(np.int64)
