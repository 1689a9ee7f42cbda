"""Test images that are unlike the training images, by the features of a network.

Source: Sun, Ming, Zhu and Li 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors" (arXiv 2204.06507):
features are scaled to length 1, and the distance to the k-th nearest training image is the score.
"""

from __future__ import annotations

import numpy as np

from trainer.common.arrays import Float32Array, Float64Array

NEIGHBOUR = 5
"""The k of the method, where there are as many training images. The first neighbour may be a chance hit."""
_BLOCK = 1024  # test images compared at a time


def distance_to_training(train: Float32Array, test: Float32Array) -> Float64Array:
    """Distance of each test image to the `NEIGHBOUR`-th nearest training image: float64 ``(m,)``, 0 .. 2.

    Args:
        train: features of n >= 1 training images, ``(n, d)``, finite.
        test: features of m test images, ``(m, d)``, finite.
    """
    known, new = _unit(train), _unit(test)
    k = min(NEIGHBOUR, len(known)) - 1
    parts = [np.empty(0)]
    for start in range(0, len(new), _BLOCK):
        cosines = new[start : start + _BLOCK] @ known.T
        nearest = -np.partition(-cosines, k, axis=1)[:, k]
        parts.append(np.sqrt(np.maximum(2.0 - 2.0 * nearest, 0.0)))
    return np.concatenate(parts)


def _unit(features: Float32Array) -> Float64Array:
    values = features.astype(np.float64)
    lengths: Float64Array = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0.0, lengths, 1.0), np.float64)
