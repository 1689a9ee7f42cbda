"""What pictures look like, in a few hundred numbers that need no network: colours, layout, edges, sharpness.

They are for telling two heaps of pictures apart (`trainer.shift.adversarial`), not for classifying: cheap, and each
part has a meaning. Height and width are left out on purpose: a network sees squares, and sides that differ are told on
their own.

What one picture is described by:

- `SCALARS`, one number each. Brightness (mean gray level), contrast (its standard deviation) and saturation of the
  picture shrunk to 64 x 64; sharpness (logarithm of the variance of the Laplacian) and blockiness (logarithm of how
  much larger steps across the borders of 8 x 8 blocks are than others, as JPEG leaves them) of its middle as it is.
- Mean and standard deviation of red, green and blue: 6.
- Shares of hue (12 bins, each pixel as much as it is saturated), saturation (8) and brightness (8): 28.
- The picture shrunk to 8 x 8, RGB: 192.
- Histograms of oriented gradients (Dalal and Triggs 2005, without overlapping blocks): 4 x 4 cells, 8 directions: 128.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.common.arrays import Float64Array
from trainer.common.errors import DataError
from trainer.data.images import Images
from trainer.data.inspection import Progress, each_picture

SCALARS = ("brightness", "contrast", "saturation", "sharpness", "blockiness")
"""The first numbers of a description, in this order."""
HUES, LEVELS, TINY, CELLS, DIRECTIONS = 12, 8, 8, 4, 8
NUMBERS = len(SCALARS) + 6 + HUES + 2 * LEVELS + 3 * TINY**2 + CELLS**2 * DIRECTIONS
"""How many numbers describe one picture."""

_SMALL = 64  # pixels, side of the picture that colours and edges are measured on
_MIDDLE = 256  # pixels, largest side of the middle that sharpness and blockiness are measured on
_BLOCK = 8  # pixels, side of JPEG's blocks


def describe_images(images: Images, progress: Progress | None = None) -> NDArray[np.float32]:
    """Describe every picture, on all cores: float32 ``(n, NUMBERS)``, finite.

    Raises:
        DataError: pictures that cannot be read, all named.
    """
    described = list(each_picture(images, describe_picture, progress))
    problems = [row for row in described if isinstance(row, str)]
    if problems:
        raise DataError(problems)
    rows = [row for row in described if not isinstance(row, str)]
    return np.stack(rows) if rows else np.zeros((0, NUMBERS), np.float32)


def describe_picture(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe one picture, uint8 ``(height, width, 3)``: float32 ``(NUMBERS,)``."""
    small = Image.fromarray(picture).resize((_SMALL, _SMALL), Image.Resampling.BOX)
    rgb = np.asarray(small, np.float64) / 255
    gray = np.asarray(small.convert("L"), np.float64) / 255
    hue, saturation, value = np.moveaxis(np.asarray(small.convert("HSV"), np.float64) / 255, 2, 0)
    middle = _middle(picture)
    parts = [
        np.array([gray.mean(), gray.std(), saturation.mean(), _sharpness(middle), _blockiness(middle)]),
        rgb.mean(axis=(0, 1)),
        rgb.std(axis=(0, 1)),
        _shares(hue, HUES, saturation),
        _shares(saturation, LEVELS),
        _shares(value, LEVELS),
        np.asarray(small.resize((TINY, TINY), Image.Resampling.BOX), np.float64).ravel() / 255,
        _directions(gray),
    ]
    return np.concatenate(parts).astype(np.float32)


def _shares(values: Float64Array, bins: int, weights: Float64Array | None = None) -> Float64Array:
    """Histogram of values 0..1 as shares; all zero where nothing weighs anything (a gray picture has no hue)."""
    counts, _ = np.histogram(values, bins=bins, range=(0, 1), weights=weights)
    total = counts.sum()
    return np.asarray(counts / total if total > 0 else np.zeros(bins), np.float64)


def _directions(gray: Float64Array) -> Float64Array:
    """Share of each direction (0 to 180 degrees) in the gradients of each cell, float64 ``(CELLS**2 * DIRECTIONS,)``;
    cells without any edge are near zero.
    """
    down, right = np.gradient(gray)
    strength = np.hypot(down, right)
    direction = (np.arctan2(down, right) % np.pi) / np.pi * DIRECTIONS
    direction = np.minimum(direction.astype(np.int64), DIRECTIONS - 1)
    cell = np.arange(_SMALL) * CELLS // _SMALL
    place = (cell[:, None] * CELLS + cell[None, :]) * DIRECTIONS + direction
    sums = np.bincount(place.ravel(), weights=strength.ravel(), minlength=CELLS**2 * DIRECTIONS)
    cells = sums.reshape(CELLS**2, DIRECTIONS)
    noise = 0.01 * (_SMALL / CELLS) ** 2  # gray levels of 0..1, over a cell: below this there are no edges to speak of
    return np.asarray((cells / (cells.sum(axis=1, keepdims=True) + noise)).ravel(), np.float64)


def _middle(picture: NDArray[np.uint8]) -> Float64Array:
    """The middle of a picture in gray levels 0..255, cut along the borders of its blocks."""
    top, left = (max(0, side - _MIDDLE) // 2 // _BLOCK * _BLOCK for side in picture.shape[:2])
    cut = picture[top : top + _MIDDLE, left : left + _MIDDLE]
    return np.asarray(Image.fromarray(np.ascontiguousarray(cut)).convert("L"), np.float64)


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
