"""Read images, resize them, and normalise them for a network."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import ImageError
from .file_kinds import FORMATS, HEAD, describe_tiff, kind_of_bytes, openable_formats, special_kind
from .pixel_values import (
    Range,
    Ranges,
    WideValues,
    distinct_values,
    drops_channel,
    image_range,
    is_misread,
    no_data_values,
    to_8_bit,
    wide_kind,
    wide_values,
)
from .resources import reserved

if TYPE_CHECKING:
    import torch


MAX_PIXELS = 89_000_000  # pixels of one image; just below the number at which Pillow warns of a decompression bomb
MAX_FILE_BYTES = 512 * 2**20  # bytes of one image file
BYTES_PER_PIXEL = 16  # memory that decoding takes at most: the image with alpha, its composite, and the result
BYTES_PER_WIDE_PIXEL = 64  # the same for values with more than 8 bits, which are scaled as float64 of three channels
WHITE = 250  # the lowest value that looks white
_ANIMATED = ("GIF", "TIFF", "PNG", "WEBP", "AVIF", "HEIF")  # formats in which several frames are no mere thumbnails

# Pillow logs causes that an `ImageError` gives already, and warns of damaged metadata, which are not used.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Result = TypeVar("Result")

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


def read_image(source: str | os.PathLike[str] | bytes, ranges: Ranges | None = None) -> NDArray[np.uint8]:
    """Decode one image file, or its bytes, to RGB: uint8 (height, width, 3).

    - Transparent pixels are composited onto white, or onto black where white would hide a white shape. A TIFF that
      would be half transparent nearly everywhere is refused.
    - The EXIF orientation is applied.
    - Only the first of several frames is read.
    - Values of more than 8 bits are scaled by ``ranges``, see `trainer.inference.pixel_values`.

    Args:
        ranges: recorded ranges of the data set. Without one, integers are scaled from 0..65535, floats from 0..1 or
            0..255, and an image with values outside from its own minimum and maximum.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, not an image, or too large for the memory, or it has
            more than `MAX_PIXELS` pixels. The header is checked before anything is decoded.
    """

    def decode(image: Image.Image, data: bytes) -> NDArray[np.uint8]:
        kind = wide_kind(image)
        if kind is None or _pillow_suffices(image, kind, ranges or {}):
            image.load()
            # Read the tag after loading: Pillow turns a TIFF upright while loading it and removes the tag.
            upright = _UPRIGHT.get(_orientation(image))
            rgb = _composited(image)
        else:
            wide = wide_values(image, data)
            upright = _UPRIGHT.get(_orientation(image))
            if wide.alpha is not None:
                _check_transparency(image, Image.fromarray(wide.alpha))
            rgb = _scaled(wide, kind, (ranges or {}).get(kind))
        return np.array(rgb.transpose(upright) if upright is not None else rgb)

    return _opened(source, decode)


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What the header of an image file says.

    kind: of values with more than 8 bits, see `trainer.inference.pixel_values.KINDS`; None: 8 bits.
    range: of those values in this image; None: 8 bits.
    distinct: different ones of those values, see `trainer.inference.pixel_values.distinct_values`.
    animated: whether there are several frames or pages.
    drops_channel: whether a fourth channel is not read, see `trainer.inference.pixel_values.drops_channel`.
    no_data: values that stand for missing pixels, see `trainer.inference.pixel_values.no_data_values`; ``range`` leaves
        them out.
    """

    kind: str | None
    range: Range | None
    animated: bool
    drops_channel: bool = False
    distinct: tuple[float, ...] = ()
    no_data: tuple[float, ...] = ()


def image_facts(source: str | os.PathLike[str] | bytes) -> ImageFacts:
    """Read the header of an image file. Pixels are decoded only to measure values with more than 8 bits.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """

    if not isinstance(source, bytes) and (known := _facts_of_head(Path(source))) is not None:
        return known

    def look(image: Image.Image, data: bytes) -> ImageFacts:
        kind = wide_kind(image)
        animated = image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
        dropped = drops_channel(image)
        if kind is None:
            return ImageFacts(kind=None, range=None, animated=animated, drops_channel=dropped)
        values = wide_values(image, data).values
        missing = no_data_values(values)
        found = image_range(values, missing)
        return ImageFacts(
            kind=kind,
            range=found,
            animated=animated,
            drops_channel=dropped,
            distinct=distinct_values(values),
            no_data=missing,
        )

    return _opened(source, look)


def kind_of_values(path: Path) -> str | None:
    """The kind of an image file's values with more than 8 bits, see `ImageFacts.kind`; None: 8 bits.

    Raises:
        ImageError: as `image_facts`.
    """
    known = _facts_of_head(path)
    return known.kind if known is not None else _opened(path, lambda image, data: wide_kind(image))


def _facts_of_head(path: Path) -> ImageFacts | None:
    """The facts of a JPEG, or of a PNG with 8 bits or fewer, without reading the whole file; None: another file."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}") from error
    if head.startswith(b"\xff\xd8\xff"):
        return ImageFacts(kind=None, range=None, animated=False)
    if head.startswith(b"\x89PNG") and head[24:25] and head[24] <= 8:
        return ImageFacts(kind=None, range=None, animated=b"acTL" in head)
    return None


def _opened(source: str | os.PathLike[str] | bytes, function: Callable[[Image.Image, bytes], Result]) -> Result:
    """``function`` of the opened image and the file's bytes, within the memory that is free."""
    data = source if isinstance(source, bytes) else _file_bytes(Path(source))
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=openable_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(_too_many_pixels(f"{width} x {height} pixels"))
            if is_misread(image):
                raise ImageError(_not_an_image(data))
            with reserved(width * height * (BYTES_PER_PIXEL if wide_kind(image) is None else BYTES_PER_WIDE_PIXEL)):
                return function(image, data)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_many_pixels("too many pixels")) from error
    except UnidentifiedImageError as error:
        raise ImageError(_not_an_image(data)) from error
    except MemoryError as error:
        raise ImageError("the memory does not suffice to decode the image: make it smaller") from error
    except Exception as error:  # Pillow's decoders raise exceptions of many types on damaged data
        kind = kind_of_bytes(data)
        if kind is not None and not kind.image:
            raise ImageError(_not_an_image(data)) from error
        cause = "is cut off (truncated)" if "truncated" in str(error).lower() else "is damaged"
        raise ImageError(f"the image {cause}: {error or type(error).__name__}") from error


def _file_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError("this is a folder, not an image")
        if not path.is_file():
            if (kind := special_kind(path)) is not None:  # not opened, because reading a pipe would wait for ever
                raise ImageError(f"this is a {kind}, not an image file: move it away")
            raise ImageError("the link leads to no file" if path.is_symlink() else "there is no such file")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ImageError(f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise ImageError("the memory does not suffice to read the file") from error


def _not_an_image(data: bytes) -> str:
    """What a file is that Pillow does not open."""
    kind = kind_of_bytes(data[:HEAD])
    if kind is None:
        return f"not an image of a known format ({', '.join(FORMATS)})"
    if not kind.image:
        what = f"{kind.name} is not read" if kind.name.endswith("image") else f"not an image but {kind.name}"
        return what + f": {kind.help}" * bool(kind.help)
    tiff = describe_tiff(data) if kind.name == "a TIFF image" else None
    if tiff is None:
        return f"{kind.name} that is cut off in its header or damaged"
    return (
        f"{tiff}; TIFF is read with 1 channel of 8, 16 or 32 bits, or with 3 or 4 channels of 8 or 16 bits whose "
        "photometric interpretation is RGB (those of 16 bits not in separate planes): save the channels that matter in "
        "one of these forms"
    )


def _too_many_pixels(what: str) -> str:
    return f"{what}; at most {MAX_PIXELS:,} are decoded (a larger image may be a decompression bomb)"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged EXIF block tells no orientation, but the pixels are good
        return 1
    return value if isinstance(value, int) else 1


def _pillow_suffices(image: Image.Image, kind: str, ranges: Ranges) -> bool:
    """Whether Pillow's own conversion is right: of colours of 16 bits whose range is whole or unknown."""
    return image.mode in ("RGB", "RGBA") and ranges.get(kind, (0.0, 65535.0)) == (0.0, 65535.0)


def _composited(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        _check_transparency(image, rgba.getchannel("A"))
        return _on_ground(rgba.convert("RGB"), rgba.getchannel("A"))
    return image.convert("RGB")


def _on_ground(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """Composite onto white; onto black if every pixel would be white, as with a white shape that alpha alone draws."""
    on_white = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    shape = np.asarray(alpha)
    if shape.min() < shape.max() and np.asarray(on_white).min() >= WHITE:
        return Image.composite(rgb, Image.new("RGB", rgb.size, "black"), alpha)
    return on_white


def _check_transparency(image: Image.Image, alpha: Image.Image) -> None:
    """Check that the last channel of a TIFF is transparency: some programs call a fourth band that, whatever it holds.

    Raises:
        ImageError: most pixels are half transparent, as by an infrared band.
    """
    counts = alpha.histogram()
    if image.format == "TIFF" and 2 * (counts[0] + counts[255]) < sum(counts):
        raise ImageError(
            "a TIFF with four channels, whose last is called transparency but has grey values, as an infrared band: "
            "save the three channels that matter"
        )


def _scaled(wide: WideValues, kind: str, given: Range | None) -> Image.Image:
    scaled = to_8_bit(wide.values, kind, given)
    rgb = Image.fromarray(255 - scaled if wide.inverted else scaled).convert("RGB")
    if wide.alpha is not None:
        rgb = _on_ground(rgb, Image.fromarray(wide.alpha))
    return rgb


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
