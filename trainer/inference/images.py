"""Read images, resize them, and normalise them for a network."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import ImageError

if TYPE_CHECKING:
    import torch


FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF")
"""Pillow's names of the formats that are opened. Formats with an interpreter, such as EPS and PDF, are not."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".ppm", ".avif"}
)
"""Extensions of image files, in lower case."""
MAX_PIXELS = 89_000_000  # pixels of one image; just below the number at which Pillow warns of a decompression bomb
MAX_FILE_BYTES = 512 * 2**20  # bytes of one image file


INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
RESIZE_POLICIES = ("squash", "pad", "crop")


# For each value of EXIF tag 0x0112 (orientation), the transposition that makes the image upright. 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Decode one image file, or its bytes, to RGB: uint8 (height, width, 3).

    - Transparent pixels are composited onto white.
    - The EXIF orientation is applied.
    - Only the first of several frames is read.
    - 16-bit grayscale is scaled from 0..65535 to 0..255. Floats are scaled from 0..1, or left if they lie in 0..255.
      Values outside of these ranges are scaled from their minimum and maximum. Nothing is clipped.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged or not an image, or it has more than `MAX_PIXELS`
            pixels. The number of pixels is checked by the header, before anything is decoded.
    """
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(_too_many_pixels(f"{width} x {height} pixels"))
            image.load()
            # Read the tag after loading: Pillow turns a TIFF upright while loading it and removes the tag.
            upright = _UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image)
            return np.array(rgb.transpose(upright) if upright is not None else rgb)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_many_pixels("too many pixels")) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known format ({', '.join(FORMATS)}), or cut off in its header") from error
    except Exception as error:  # Pillow's decoders raise exceptions of many types on damaged data
        cause = "is cut off (truncated)" if "truncated" in str(error).lower() else "is damaged"
        raise ImageError(f"the image {cause}: {error or type(error).__name__}") from error


def _file_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError("this is a folder, not an image")
        if not path.is_file():
            raise ImageError("there is no such file")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ImageError(f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}") from error


def _too_many_pixels(what: str) -> str:
    return f"{what}; at most {MAX_PIXELS:,} are decoded (a larger image may be a decompression bomb)"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged EXIF block tells no orientation, but the pixels are good
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_to_8_bit(np.asarray(image), sixteen_bit=image.mode != "F")).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: NDArray[Any], *, sixteen_bit: bool) -> NDArray[np.uint8]:
    """Scale the values to 0..255, as `read_image` describes."""
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ImageError("the image holds values that are not finite")
    low, high = float(wide.min()), float(wide.max())
    ranges = (65535.0,) if sixteen_bit else (1.0, 255.0)
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    if full is None:
        wide, full = wide - low, high - low
    return np.rint(wide * (255.0 / full) if full else wide).astype(np.uint8)


def resize_image(
    image: NDArray[np.uint8], size: int, resize: str = "squash", interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Make an image square: uint8 (height, width, 3) -> uint8 (size, size, 3), antialiased (Pillow).

    An image that has this size already is returned unchanged.

    Args:
        resize: "squash" ignores the aspect ratio. "pad" fits the whole image in and pads it with black. "crop" takes
            the largest square in the middle.
        interpolation: a key of `INTERPOLATIONS`.

    Raises:
        ValueError: ``resize`` is none of `RESIZE_POLICIES`.
    """
    if resize not in RESIZE_POLICIES:
        raise ValueError(f"resize is one of {', '.join(RESIZE_POLICIES)}, not {resize!r}")
    resample = INTERPOLATIONS[interpolation]
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    source = Image.fromarray(image)
    if resize == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return np.array(source.resize((size, size), resample, box=(left, top, left + side, top + side)))
    if resize == "squash":
        return np.array(source.resize((size, size), resample))
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    fitted = source.resize((new_width, new_height), resample)
    square[top : top + new_height, left : left + new_width] = np.asarray(fitted)
    return square


def array_image(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert one image of an array, (h, w), (h, w, 1) or (h, w, 3), to RGB: uint8 (h, w, 3).

    Values are in 0..255; floats are rounded.

    Raises:
        ImageError: another shape or type, or values that are not finite or outside of 0..255.
    """
    gray = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    if not gray and not (array.ndim == 3 and array.shape[2] == 3):
        raise ImageError(f"an image has the shape (height, width), (…, 1) or (…, 3), not {array.shape}")
    if array.dtype.kind not in "uif" or not array.size:
        raise ImageError(f"the image has {array.size} values of type {array.dtype}; pixels are numbers 0..255")
    if array.dtype != np.uint8:
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
            raise ImageError("the image holds values that are not finite or lie outside 0..255")
        array = np.rint(array).astype(np.uint8)
    pixels = array.reshape(*array.shape[:2], -1)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*array.shape[:2], 3)), dtype=np.uint8)


class Normaliser:
    """Normalise uint8 images for a network: ``(x / 255 - mean) / std`` for each channel.

    Args:
        mean, std: mean and standard deviation of red, green and blue, on the scale 0..1.
        width: width of the images, in pixels.
        device: device of the images.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], width: int, device: torch.device | str) -> None:
        import torch

        # One factor for every value of a row of pixels: with three alternating factors the processor could not use its
        # vector instructions, which takes six times as long.
        deviation, centre = torch.tensor(std, dtype=torch.float64), torch.tensor(mean, dtype=torch.float64)
        self._scale = (1.0 / (255.0 * deviation)).float().repeat(width).to(device)
        self._offset = (-centre / deviation).float().repeat(width).to(device)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 (n, height, width, 3): float32 (n, 3, height, width) in the memory format channels-last."""
        rows = images.flatten(2).float().mul_(self._scale).add_(self._offset)
        return rows.view(images.shape).permute(0, 3, 1, 2)
