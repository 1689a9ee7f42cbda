"""From the values that an image file holds to RGB with 8 bits.

Files with more than 8 bits per value use very different ranges, such as 12 bits in a file of 16 bits, or floats 0..1.
Scaled by the range that the type allows, many would be nearly black. So the range is measured over all images of a data
set (`common_range`), recorded, and applied to every image alike.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from .errors import ImageError

Range = tuple[float, float]
"""The values that become 0 and 255; values outside are clipped."""
Ranges = Mapping[str, Range]
"""The range of each kind of values: "integer" (more than 8 bits) and "float". An image of a kind that is missing is
scaled by the range that its type allows."""

KINDS = ("integer", "float")
TAIL = 0.1  # percent of the pixels of an image, on each side, that its range leaves out: dead pixels, burnt-in marks
LEAST_SHARE = 0.25  # of a range of whole bits: images that use less of it are scaled by their own range
SAMPLE = 2**18  # pixels of one image that are measured; a larger image is subsampled on a grid
NO_DATA = (-9999, -99999, -999, -32768, -32767, -(2**31), -3.4028235e38, -1e20, 32767, 65535, 9999, 99999, 2**31 - 1,
           2**32 - 1, 3.4028235e38, 1e20, 9.96921e36)  # fmt: skip
"""Usual values of pixels without a measurement, beside NaN."""
FEWEST_VALUES = 8  # different ones beside the no-data value, so that masks of few values have none
STEPS = 64  # distinct values of an image that `distinct_values` keeps

# Decoders of Pillow that keep the high byte of each value of 16 bits, and those that keep the low byte, on a
# little-endian machine. Pillow itself has no colours of 16 bits.
_LOW_BYTE = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGB;16N": "RGB;16B"}
_LOW_BYTE |= {f"RGBA{high[3:]}": f"RGBA{low[3:]}" for high, low in _LOW_BYTE.items()}
_GRAY_ALPHA = "LA;16B"
MOST_CHANNELS = 4
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_CHANNELS, _TIFF_PLANES, _TIFF_SAMPLE_FORMAT = 258, 262, 277, 284, 339


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow opens a TIFF, but would leave out channels or make noise of separate planes of 16 bits."""
    if image.format != "TIFF":
        return False
    planes = _tag(image, _TIFF_PLANES) == 2 and (_tag(image, _TIFF_BITS) or 8) > 8
    return planes or (_tag(image, _TIFF_CHANNELS) or 1) > MOST_CHANNELS or _raw_mode(image) == "LX"


def drops_channel(image: Image.Image) -> bool:
    """Whether Pillow reads red, green and blue of a TIFF and leaves out a fourth channel, whose meaning no tag says."""
    return image.format == "TIFF" and image.mode == "RGB" and _tag(image, _TIFF_CHANNELS) == MOST_CHANNELS


def wide_kind(image: Image.Image) -> str | None:
    """The kind of values, one of `KINDS`, of an image that is not loaded yet; None: it has 8 bits, unsigned."""
    if image.mode == "F":
        return "float"
    if image.mode == "I" or image.mode.startswith("I;") or _is_signed_byte(image):
        return "integer"
    raw = _raw_mode(image)
    return "integer" if raw in _LOW_BYTE or raw == _GRAY_ALPHA else None


@dataclass(frozen=True, kw_only=True, eq=False)
class WideValues:
    """The decoded values of an image.

    values: (h, w) or (h, w, 3).
    alpha: uint8 (h, w); None without such a channel.
    inverted: whether the lowest value is white.
    """

    values: NDArray[Any]
    alpha: NDArray[np.uint8] | None = None
    inverted: bool = False


def wide_values(image: Image.Image, data: bytes) -> WideValues:
    """Decode an image with a `wide_kind`.

    Args:
        data: the file, of which colours of 16 bits are decoded twice.
    """
    raw = _raw_mode(image)
    if raw == _GRAY_ALPHA:
        _set_raw_mode(image, "RGBA")  # the four bytes of a pixel as they are
        pairs = np.asarray(image).astype(np.int32)
        return WideValues(values=pairs[..., 0] * 256 + pairs[..., 1], alpha=pairs[..., 2].astype(np.uint8))
    if raw in _LOW_BYTE:
        high = np.asarray(image).astype(np.int32)
        with Image.open(io.BytesIO(data), formats=[image.format or ""]) as again:
            _set_raw_mode(again, _LOW_BYTE[raw])
            low = np.asarray(again)
        alpha = high[..., 3].astype(np.uint8) if high.shape[2] == 4 else None
        return WideValues(values=high[..., :3] * 256 + low[..., :3], alpha=alpha)
    signed_byte, unsigned = _is_signed_byte(image), _tag(image, _TIFF_SAMPLE_FORMAT) in (None, 1)
    inverted = image.mode != "L" and _tag(image, _TIFF_PHOTOMETRIC) == 0
    values: NDArray[Any] = np.asarray(image)
    if signed_byte:
        values = values.view(np.int8)
    elif image.mode == "I" and image.format == "TIFF" and unsigned and values.size and values.min() < 0:
        values = values.view(np.uint32)
    return WideValues(values=values, inverted=inverted)


def no_data_values(values: NDArray[Any]) -> tuple[float, ...]:
    """The values of an image that stand for pixels without a measurement: NaN, and an end far from the other values.

    An end is far if its distance is four times the spread of the other values, and more than `TAIL` percent of the
    pixels have it. For the values in `NO_DATA` once the spread is enough, and half of it for negative ones.
    """
    sample = _sample(values)
    different, counts = np.unique(sample[np.isfinite(sample)], return_counts=True)
    finite = different.astype(np.float64)
    found = [math.nan] if np.isnan(sample).any() else []
    if len(finite) < FEWEST_VALUES + 2:
        return tuple(found)
    inner = finite[1:-1]
    spread = inner[-1] - inner[0]
    for place, gap in ((0, inner[0] - finite[0]), (-1, finite[-1] - inner[-1])):
        end = float(finite[place])
        usual = is_usual_no_data(end)
        counts_in_range = usual or counts[place] * 100 > TAIL * sample.size
        if counts_in_range and spread > 0 and gap >= spread * ((0.5 if end < 0 else 1) if usual else 4):
            found.append(end)
    return tuple(found)


def is_usual_no_data(value: float) -> bool:
    """Whether a value is one of `NO_DATA`, as far as 32 bits hold it."""
    return any(math.isclose(value, known, rel_tol=1e-6) for known in NO_DATA)


def image_range(values: NDArray[Any], no_data: Collection[float] = ()) -> Range:
    """The range of one image, without the `TAIL` percent of its pixels on each side.

    Args:
        no_data: values that do not count.

    Raises:
        ImageError: infinite values, or NaN alone.
    """
    sample = _sample(values)
    measured = sample[~np.isnan(sample)]
    measured = measured[~np.isin(measured, [value for value in no_data if not math.isnan(value)])]
    if not measured.size or np.isinf(measured).any():
        raise ImageError(_NOT_FINITE)
    low, high = np.percentile(measured, [TAIL, 100 - TAIL], method="nearest").tolist()
    return float(low), float(high)


def distinct_values(values: NDArray[Any]) -> tuple[float, ...]:
    """Up to `STEPS` different finite values of an image, ascending: the quantiles of its set of values.

    A value of many pixels counts once, so that a large background does not hide how the other values are spread.
    """
    sample = _sample(values)
    different = np.unique(sample[np.isfinite(sample)])
    chosen = np.linspace(0, len(different) - 1, min(STEPS, len(different))).round().astype(int)
    return tuple(float(value) for value in different[chosen])


def common_range(kind: str, ranges: Iterable[Range]) -> Range:
    """The range by which all images of one kind are scaled.

    It is the smallest of 0..2^b - 1 for integers (b >= 8) and of 0..1 and 0..255 for floats, if the images use at least
    `LEAST_SHARE` of it. Otherwise it is the images' own range.

    Args:
        ranges: the range of each image, one at least.
    """
    lows, highs = zip(*ranges, strict=True)
    low, high = min(lows), max(highs)
    whole = (1.0, 255.0) if kind == "float" else tuple(2.0**bits - 1 for bits in range(8, 33))
    full = next((full for full in whole if high <= full), None)
    if low >= 0 and full is not None and high - low >= LEAST_SHARE * full:
        return 0.0, full
    return (low, high) if high > low else (low, low + 1.0)


def to_8_bit(values: NDArray[Any], kind: str, given: Range | None) -> NDArray[np.uint8]:
    """Scale values to 0..255. NaN, a pixel without a measurement, becomes 0 where the range is given.

    Args:
        given: the range of the data set. None: 0..65535 for integers, 0..1 or 0..255 for floats, or the image's minimum
            and maximum if it has values outside.

    Raises:
        ImageError: infinite values, NaN alone, or NaN without a range.
    """
    wide = values.astype(np.float64)
    missing = np.isnan(wide)
    if given is not None and not missing.all():
        wide[missing] = given[0]
    if not np.isfinite(wide).all():
        raise ImageError(_NOT_FINITE)
    if given is None:
        low, high = float(wide.min()), float(wide.max())
        whole = (1.0, 255.0) if kind == "float" else (65535.0,)
        full = next((full for full in whole if low >= 0 and high <= full), None)
        given = (low, high) if full is None else (0.0, full)
    low, high = given
    wide -= low
    if high > low:
        wide *= 255.0 / (high - low)
    np.rint(wide.clip(0, 255, out=wide), out=wide)
    return wide.astype(np.uint8)


def checked_ranges(stored: object) -> dict[str, Range]:
    """The `Ranges` of a JSON document, which may hold anything.

    Raises:
        ValueError: another form, with the cause.
    """
    if not isinstance(stored, dict) or not set(stored) <= set(KINDS):
        raise ValueError(f"value_ranges is not a table with the keys {' and '.join(KINDS)}")
    ranges: dict[str, Range] = {}
    for kind, pair in stored.items():
        numbers = isinstance(pair, list | tuple) and all(type(end) in (int, float) for end in pair)
        if not numbers or len(pair) != 2 or not all(abs(end) <= 2**63 for end in pair) or not pair[0] < pair[1]:
            raise ValueError(f"the {kind} range of value_ranges is not two ascending numbers")
        ranges[kind] = (float(pair[0]), float(pair[1]))
    return ranges


def _sample(values: NDArray[Any]) -> NDArray[Any]:
    step = max(1, math.isqrt(values.shape[0] * values.shape[1] // SAMPLE))
    sample: NDArray[Any] = values[::step, ::step]
    return sample


_NOT_FINITE = "the image holds values that are not finite (NaN or infinity); replace them by a number"


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name for the form of the values in the file."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _set_raw_mode(image: Image.Image, raw: str) -> None:
    assert isinstance(image, ImageFile.ImageFile)
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in image.tile
    ]


def _is_signed_byte(image: Image.Image) -> bool:
    return image.mode == "L" and _tag(image, _TIFF_SAMPLE_FORMAT) == 2


def _tag(image: Image.Image, number: int) -> Any:
    """The first value of a TIFF tag; None without it."""
    tags = getattr(image, "tag_v2", None)
    value = tags.get(number) if tags is not None else None
    return value[0] if isinstance(value, tuple) and value else value
