"""Small pictures: an image, and the image in gray under its class-activation map."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.common.arrays import Float32Array

QUALITY = 80  # of JPEG
_COLOURS = "inferno"  # also readable without colours: the larger, the brighter
_WIDE = 0.5  # share of the places with large values, above which a map has no focus
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


def shrunk(image: NDArray[np.uint8], side: int) -> Image.Image:
    """An image, uint8 ``(height, width, 3)``, with a longest side of ``side`` pixels; a smaller image is enlarged.

    The aspect ratio stays, but the shorter side has 8 pixels at least.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = Image.fromarray(image)
    # An enlarged image shows its pixels as they are.
    return small.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BOX)


def under_map(picture: Image.Image, found: Float32Array) -> Image.Image:
    """The picture in gray under a map, ``(height, width)`` of the picture, 0 .. 1: the larger a value, the brighter."""
    from matplotlib import colormaps

    gray = np.asarray(picture.convert("L"), np.float32)[:, :, None] / 255
    colours = np.asarray(colormaps[_COLOURS](found), np.float32)[:, :, :3]
    mixed = 0.45 * gray + 0.65 * colours
    return Image.fromarray((255 * mixed.clip(0.0, 1.0)).astype(np.uint8))


def encoded(picture: Image.Image) -> bytes:
    """The picture as JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def data_uri(jpeg: bytes) -> str:
    """A JPEG as the address of an image in a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def focus_of(found: Float32Array) -> str:
    """Where a map is largest, in words such as ``top left``, ``centre`` or ``all over``; ``nowhere`` if it is 0."""
    if not found.any():
        return "nowhere"
    if (found > 0.5).mean() > _WIDE:
        return "all over"
    height, width = found.shape
    weights = found.astype(np.float64) ** 4  # the neighbourhood of the maximum
    row = int(3 * ((weights.sum(axis=1) * (np.arange(height) + 0.5)).sum() / weights.sum()) / height)
    column = int(3 * ((weights.sum(axis=0) * (np.arange(width) + 0.5)).sum() / weights.sum()) / width)
    if (row, column) == (1, 1):
        return "centre"
    return f"{_ROWS[row]} {_COLUMNS[column]}"
