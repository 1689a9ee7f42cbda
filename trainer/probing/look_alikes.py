"""Near-duplicates by features: pairs of images that the perceptual hash misses, such as mirrored or recoloured copies.

Two images are a pair if the cosine of their centred features is at least `MIN_COSINE`. Centring subtracts the mean over
all images. Without it, features of different images of one kind have cosines near 0.9.

The limit was set by inspecting pairs and by altering 120 images each of 2,020 photographs (Caltech-101, 20 of each
class) and 1,054 paintings (Louvre), with features of EfficientNet-Lite0 and Lite2:

- Of the 50 pairs of photographs from 0.9 on, 46 show one picture, edited, mirrored or redrawn; of the 66 from 0.85 to
  0.9 about half do. Of the paintings 2 and 3 pairs reach 0.9, and 1 of them shows two pictures.
- 87 to 98 % of mirrored copies and 97 to 100 % of half-desaturated ones reach 0.9; of copies with a white banner 72 to
  93 %, of darker ones 51 to 84 %, of those that lost 5 % of each side 23 to 94 %. Most copies that lost 10 % or more,
  or were turned by 3 degrees, do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.common.errors import TrainerError

MIN_COSINE = 0.9
MOST_PAIRS = 1_000_000
"""Pairs beyond which the search ends: the features do not separate the images."""
_BLOCK = 1024  # images compared with all later ones at a time
_LEAST_LENGTH = 1e-6  # of centred features; shorter ones are rounding, and match nothing


class TooManyPairs(TrainerError):
    """More than `MOST_PAIRS` pairs: the images are alike by nature, so that a pair says nothing."""


def similar_pairs(features: Float32Array) -> tuple[NDArray[np.int64], Float32Array]:
    """All pairs i < j of images with nearly the same features, by falling cosine.

    Args:
        features: float32, shape (n, d), finite.

    Returns:
        The pairs, int64 (p, 2), and their cosines, float32 (p,), `MIN_COSINE` .. 1.

    Raises:
        TooManyPairs: more than `MOST_PAIRS` are found.
    """
    directions = centred_directions(features)
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    cosines: list[Float32Array] = [np.empty(0, np.float32)]
    total = 0
    for start in range(0, len(directions), _BLOCK):
        block = directions[start : start + _BLOCK] @ directions[start:].T
        i, j = np.nonzero(block >= MIN_COSINE)
        upper = i < j
        i, j = i[upper], j[upper]
        total += len(i)
        if total > MOST_PAIRS:
            raise TooManyPairs
        found.append(np.stack([i + start, j + start], axis=1).astype(np.int64))
        cosines.append(np.minimum(block[i, j], np.float32(1.0)))
    every = np.concatenate(cosines)
    order = np.argsort(-every, kind="stable")
    return np.concatenate(found)[order], every[order]


def centred_directions(features: Float32Array) -> Float32Array:
    """Centred features of length 1; zeros for an image that equals the mean."""
    if not len(features):
        return np.zeros((0, 1), np.float32)
    values = features.astype(np.float64)
    scale = np.abs(values).max()
    centred = (values - values.mean(axis=0)) / (scale if scale > 0 else 1.0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    short = lengths < _LEAST_LENGTH
    directions: Float32Array = np.where(short, 0.0, centred / np.where(short, 1.0, lengths)).astype(np.float32)
    return directions
