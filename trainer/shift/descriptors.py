"""Image descriptors without a network: colours, layout, edges and sharpness of an image in a few hundred numbers.

The descriptors serve adversarial validation (`trainer.shift.adversarial`), not classification. They are cheap, and
each one has a meaning. Height and width are not part of them: networks see squares, and `trainer.shift.leaks` compares
the sides.

The descriptor of an image consists of:

- `SCALARS`, one number each. Brightness (mean gray level), contrast (standard deviation of the gray level) and
  saturation are measured on the image shrunk to 64 x 64. Sharpness and blockiness are measured on the middle of the
  image at full resolution. Sharpness is the logarithm of the variance of the Laplacian. Blockiness is the logarithm of
  the ratio of steps across the borders of 8 x 8 blocks to other steps; JPEG compression raises it.
- Mean and standard deviation of red, green and blue: 6.
- Histograms of hue (12 bins, pixels weighted by saturation), saturation (8) and brightness (8): 28.
- The image shrunk to 8 x 8, RGB: 192.
- Histograms of oriented gradients (Dalal and Triggs 2005, without overlapping blocks): 4 x 4 cells, 8 directions: 128.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.common.arrays import Float64Array
from trainer.common.errors import DataError
from trainer.data.images import Images
from trainer.data.inspection import Progress, decode_each

SCALARS = ("brightness", "contrast", "saturation", "sharpness", "blockiness")
"""Names of the first numbers of a descriptor, in order."""
HUE_BINS, LEVEL_BINS, LAYOUT_SIDE, CELLS, DIRECTIONS = 12, 8, 8, 4, 8
N_FEATURES = len(SCALARS) + 6 + HUE_BINS + 2 * LEVEL_BINS + 3 * LAYOUT_SIDE**2 + CELLS**2 * DIRECTIONS
"""Length of a descriptor."""

_SMALL = 64  # pixels, side of the image for colours and edges
_MIDDLE = 256  # pixels, largest side of the middle for sharpness and blockiness
_BLOCK = 8  # pixels, side of a JPEG block


def describe_images(images: Images, progress: Progress | None = None) -> NDArray[np.float32]:
    """Descriptors of all images, computed on all cores: float32 ``(n, N_FEATURES)``, finite.

    Raises:
        DataError: images that cannot be read. Every one is named.
    """
    described = list(decode_each(images, describe_image, progress))
    problems = [row for row in described if isinstance(row, str)]
    if problems:
        raise DataError(problems)
    rows = [row for row in described if not isinstance(row, str)]
    return np.stack(rows) if rows else np.zeros((0, N_FEATURES), np.float32)


def describe_image(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptor of one image, uint8 ``(height, width, 3)``: float32 ``(N_FEATURES,)``."""
    small = Image.fromarray(image).resize((_SMALL, _SMALL), Image.Resampling.BOX)
    rgb = np.asarray(small, np.float64) / 255
    gray = np.asarray(small.convert("L"), np.float64) / 255
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV"), np.float64) / 255, 2, 0)
    middle = _middle(image)
    parts = [
        np.array([gray.mean(), gray.std(), saturation.mean(), _sharpness(middle), _blockiness(middle)]),
        rgb.mean(axis=(0, 1)),
        rgb.std(axis=(0, 1)),
        _histogram(hue, HUE_BINS, saturation),
        _histogram(saturation, LEVEL_BINS),
        _histogram(value, LEVEL_BINS),
        np.asarray(small.resize((LAYOUT_SIDE, LAYOUT_SIDE), Image.Resampling.BOX), np.float64).ravel() / 255,
        _oriented_gradients(gray),
    ]
    return np.concatenate(parts).astype(np.float32)


def _histogram(values: Float64Array, bins: int, weights: Float64Array | None = None) -> Float64Array:
    """Normalised histogram of values in 0..1. It is all zero if the weights are (a gray image has no hue)."""
    counts, _ = np.histogram(values, bins=bins, range=(0, 1), weights=weights)
    total = counts.sum()
    return np.asarray(counts / total if total > 0 else np.zeros(bins), np.float64)


def _oriented_gradients(gray: Float64Array) -> Float64Array:
    """Share of each direction (0 to 180 degrees) in the gradients of each cell: float64 ``(CELLS**2 * DIRECTIONS,)``.

    The shares of a cell without edges are near zero.
    """
    down, right = np.gradient(gray)
    strength = np.hypot(down, right)
    direction = (np.arctan2(down, right) % np.pi) / np.pi * DIRECTIONS
    direction = np.minimum(direction.astype(np.int64), DIRECTIONS - 1)
    cell = np.arange(_SMALL) * CELLS // _SMALL
    place = (cell[:, None] * CELLS + cell[None, :]) * DIRECTIONS + direction
    sums = np.bincount(place.ravel(), weights=strength.ravel(), minlength=CELLS**2 * DIRECTIONS)
    cells = sums.reshape(CELLS**2, DIRECTIONS)
    noise = 0.01 * (_SMALL / CELLS) ** 2  # sum of gradients of gray levels 0..1 in a cell; a smaller sum is noise
    return np.asarray((cells / (cells.sum(axis=1, keepdims=True) + noise)).ravel(), np.float64)


def _middle(image: NDArray[np.uint8]) -> Float64Array:
    """The middle of an image in gray levels 0..255, cropped at the borders of JPEG blocks."""
    top, left = (max(0, side - _MIDDLE) // 2 // _BLOCK * _BLOCK for side in image.shape[:2])
    crop = image[top : top + _MIDDLE, left : left + _MIDDLE]
    return np.asarray(Image.fromarray(np.ascontiguousarray(crop)).convert("L"), np.float64)


def _sharpness(gray: Float64Array) -> float:
    if min(gray.shape) < 3:
        return 0.0
    inner = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner
    return float(np.log1p(laplacian.var()))


def _blockiness(gray: Float64Array) -> float:
    borders, others = [], []
    for steps in (np.abs(np.diff(gray, axis=0)), np.abs(np.diff(gray, axis=1)).T):
        at_border = np.arange(len(steps)) % _BLOCK == _BLOCK - 1
        borders.append(steps[at_border].ravel())
        others.append(steps[~at_border].ravel())
    border, other = np.concatenate(borders), np.concatenate(others)
    if not len(border) or not len(other):
        return 0.0
    return float(np.log((border.mean() + 1) / (other.mean() + 1)))
