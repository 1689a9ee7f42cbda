"""Images with more than 8 bits per value keep their gray levels and colours."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from trainer.inference.errors import ImageError
from trainer.inference.images import image_facts, read_image
from trainer.inference.pixel_values import checked_ranges, common_range, image_range, to_8_bit

TWELVE_BITS = {"integer": (0.0, 4095.0)}


def png(values: npt.NDArray[Any], color_type: int) -> bytes:
    """A PNG file of 16 bits. Values: (h, w, channels). Color type: 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: npt.NDArray[Any], *, photometric: int = 1, sample_format: int = 1, planes: int = 1) -> bytes:
    """An uncompressed little-endian TIFF file. Values: (h, w) or (h, w, channels)."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    bits, data = 8 * values.dtype.itemsize, np.ascontiguousarray(values).tobytes()
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    entries: dict[int, Any] = {256: width, 257: height, 258: (bits,) * channels, 259: 1, 262: photometric}
    entries |= {277: channels, 278: height, 279: len(data), 284: planes, 339: (sample_format,) * channels}
    for tag, value in entries.items():
        directory[tag] = value
    directory[273] = 0  # of the data; Pillow adds the end of the directory
    return b"II*\0\x08\0\0\0" + directory.tobytes(8) + data


def twelve_bits(*shape: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_twelve_bits_in_sixteen_use_all_levels(color_type: int, channels: int) -> None:
    values = twelve_bits(40, 40, channels)
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    read = read_image(png(values, color_type), TWELVE_BITS)
    colors = values[..., : 3 if channels > 2 else 1]
    np.testing.assert_array_equal(read, np.broadcast_to(np.rint(colors * (255 / 4095)), read.shape))
    assert image_facts(png(values, color_type)).kind == "integer"


def test_transparent_pixels_of_sixteen_bits_are_white() -> None:
    values = np.zeros((1, 3, 4), np.uint16)
    values[0, :, 3] = (0, 32768, 65535)
    np.testing.assert_array_equal(read_image(png(values, 6), TWELVE_BITS)[0, :, 0], (255, 127, 0))


def test_colours_of_sixteen_bits_in_a_tiff() -> None:
    values = twelve_bits(9, 7, 3)
    expected = np.rint(values * (255 / 4095))
    np.testing.assert_array_equal(read_image(tiff(values, photometric=2), TWELVE_BITS), expected)


def test_separate_planes_are_refused_instead_of_noise() -> None:
    values = twelve_bits(8, 8, 3)
    with pytest.raises(ImageError, match="planes"):
        read_image(tiff(values, photometric=2, planes=2))


def test_white_may_be_zero() -> None:
    values = np.array([[0, 4095]], np.uint16)
    np.testing.assert_array_equal(read_image(tiff(values, photometric=0), TWELVE_BITS)[0, :, 0], (255, 0))


def test_signed_and_unsigned_values() -> None:
    signed = tiff(np.array([[-128, 0, 127]], np.int8), sample_format=2)
    np.testing.assert_array_equal(read_image(signed, {"integer": (-128.0, 127.0)})[0, :, 0], (0, 128, 255))
    large = tiff(np.array([[0, 2**31, 2**32 - 1]], np.uint32))
    np.testing.assert_array_equal(read_image(large, {"integer": (0.0, 2.0**32 - 1)})[0, :, 0], (0, 128, 255))
    assert image_facts(large).range == (0.0, 2.0**32 - 1)


def test_images_of_one_data_set_are_scaled_alike() -> None:
    dark, bright = (tiff(np.full((4, 4), value, np.float32), sample_format=3) for value in (200.0, 900.0))
    assert read_image(dark, {"float": (0.0, 1000.0)}).max() == 51
    assert read_image(bright, {"float": (0.0, 1000.0)}).max() == 230
    assert read_image(bright, {"float": (0.0, 500.0)}).max() == 255, "values outside are clipped"


@pytest.mark.parametrize(
    ("kind", "ranges", "expected"),
    [
        ("integer", [(200, 1700), (1400, 2900)], (0, 4095)),
        ("integer", [(0, 1000)], (0, 1023)),
        ("integer", [(0, 16383)], (0, 16383)),
        ("integer", [(0, 65535)], (0, 65535)),
        ("integer", [(3, 200)], (0, 255)),
        ("integer", [(32000, 34000)], (32000, 34000)),
        ("integer", [(-1024, 3071)], (-1024, 3071)),
        ("float", [(0.1, 0.9)], (0, 1)),
        ("float", [(0, 180.5)], (0, 255)),
        ("float", [(0, 5000.5)], (0, 5000.5)),
        ("float", [(0, 0.01)], (0, 0.01)),
        ("integer", [(40000, 40000)], (40000, 40001)),
    ],
)
def test_the_range_of_a_data_set(kind: str, ranges: list[tuple[float, float]], expected: tuple[float, float]) -> None:
    assert common_range(kind, ranges) == expected


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_a_common_range_leaves_a_quarter_of_the_levels_at_least(first: int, second: int) -> None:
    low, high = sorted((first, second))
    start, end = common_range("integer", [(low, high)])
    assert start <= low <= high <= end
    if high > low:
        levels = to_8_bit(np.array([[low, high]]), "integer", (start, end))
        assert int(levels[0, 1]) - int(levels[0, 0]) >= 63


def test_single_bright_pixels_do_not_darken_the_rest() -> None:
    values = twelve_bits(64, 64)
    values[3, 5] = 65535
    _, high = image_range(values)
    assert high <= 4095


@pytest.mark.parametrize(
    "stored",
    [None, [], {"other": [0, 1]}, {"integer": 3}, {"integer": [1]}, {"integer": [1, 1]}, {"float": [2, 1]},
     {"integer": ["0", "1"]}, {"integer": [0, 10**400]}, {"float": [0, float("nan")]}, {"integer": [True, 2]}],
)  # fmt: skip
def test_damaged_records_of_ranges_are_refused(stored: object) -> None:
    with pytest.raises(ValueError, match="range"):
        checked_ranges(stored)


@pytest.mark.parametrize(("channels", "named"), [(13, "13 channels of 16 bits"), (4, "4 channels"), (2, "2 channels")])
def test_many_channels_are_named(channels: int, named: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match=named):
        read_image(tiff(np.zeros((8, 8, channels), np.uint16)))
    assert capfd.readouterr() == ("", ""), "neither a warning nor a line of Pillow's log"


@pytest.mark.parametrize(("channels", "photometric"), [(5, 2), (6, 2), (2, 1)])
def test_no_channel_of_eight_bits_is_left_out(channels: int, photometric: int) -> None:
    with pytest.raises(ImageError, match=f"{channels} channels of 8 bits"):
        read_image(tiff(np.zeros((8, 8, channels), np.uint8), photometric=photometric))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_three_channels_that_are_not_called_colours_are_named_and_read_as_colours(kind: type[np.generic]) -> None:
    values = np.full((8, 8, 3), (200, 100, 50)).astype(kind)
    with pytest.raises(ImageError, match=r"3 channels of \d+ bits whose photometric interpretation is gray.* is RGB"):
        read_image(tiff(values, photometric=1))
    assert read_image(tiff(values, photometric=2)).shape == (8, 8, 3), "the advice"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"])
def test_every_mode_is_read_or_refused_in_words(mode: str) -> None:
    gray = np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8)
    source = Image.fromarray(gray)
    image = source.convert(mode) if mode not in ("LAB", "HSV", "PA") else Image.new(mode, (8, 8))
    buffer = io.BytesIO()
    try:
        image.save(buffer, "TIFF")
    except OSError:
        pytest.skip(f"Pillow writes no TIFF of mode {mode}")
    assert read_image(buffer.getvalue()).shape == (8, 8, 3)
