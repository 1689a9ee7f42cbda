"""Decoding and resizing: images of every kind have the right pixels, anything else is refused with its cause."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from trainer.inference.arrays import array_image
from trainer.inference.errors import ImageError
from trainer.inference.images import MAX_PIXELS, read_image, resize_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def quadrants() -> Image.Image:
    """24 x 16 pixels; red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.empty((16, 24, 3), np.uint8)
    pixels[:8, :12], pixels[:8, 12:], pixels[8:, :12], pixels[8:, 12:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def corners(image: npt.NDArray[np.uint8]) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in image[y, x]) for y, x in ((1, 1), (1, -2), (-2, 1), (-2, -2))]


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_lossless_formats_are_read_exactly(file_format: str) -> None:
    image = read_image(encoded(quadrants(), file_format))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(quadrants()))


@pytest.mark.parametrize(("file_format", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_are_read_nearly(file_format: str, options: dict[str, Any]) -> None:
    image = read_image(encoded(quadrants(), file_format, **options))
    np.testing.assert_allclose(np.array(corners(image), float), [RED, GREEN, BLUE, WHITE], atol=40)


def test_a_file_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "no_suffix"
    path.write_bytes(encoded(quadrants(), "PNG"))
    np.testing.assert_array_equal(read_image(path), read_image(path.read_bytes()))
    np.testing.assert_array_equal(read_image(str(path)), read_image(path))


def test_grayscale_and_one_bit_become_rgb() -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    expected = np.repeat(gray[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(gray), "PNG")), expected)
    bits = Image.fromarray(gray).convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(read_image(encoded(bits, "PNG")), np.where(expected > 127, 255, 0))


def test_palette_keeps_its_colours_and_its_transparency_becomes_white() -> None:
    palette = quadrants().quantize(8, dither=Image.Dither.NONE)
    np.testing.assert_array_equal(read_image(encoded(palette, "PNG")), np.asarray(quadrants()))
    index = palette.getpixel((1, 1))
    see_through = read_image(encoded(palette, "PNG", transparency=index))
    assert corners(see_through) == [WHITE, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (255, 0, 0)), ("LA", (100,))])
def test_alpha_is_composited_onto_white(mode: str, colour: tuple[int, ...]) -> None:
    image = Image.new(mode, (4, 4), (*colour, 0))
    image.putpixel((0, 0), (*colour, 255))
    image.putpixel((1, 0), (*colour, 128))
    read = read_image(encoded(image, "PNG"))
    solid = np.array(colour * 3 if len(colour) == 1 else colour)
    np.testing.assert_array_equal(read[0, 0], solid)
    np.testing.assert_allclose(read[0, 1], solid * 128 / 255 + 127, atol=1)
    np.testing.assert_array_equal(read[3, 3], WHITE)  # the colour of a fully transparent pixel does not matter


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_white_shape_that_alpha_alone_draws_is_not_lost(mode: str) -> None:
    shape = np.zeros((8, 8), np.uint8)
    shape[2:6, 3:5] = 255
    image = Image.new(mode, (8, 8), "white")
    image.putalpha(Image.fromarray(shape))
    read = read_image(encoded(image, "PNG"))
    np.testing.assert_array_equal(read, shape[:, :, None].repeat(3, axis=2))
    image.putpixel((3, 3), (*((0,) * (len(mode) - 1)), 255))  # something that white does not hide
    assert corners(read_image(encoded(image, "PNG"))) == [WHITE] * 4


def test_the_infrared_band_of_a_tiff_is_no_transparency() -> None:
    bands = np.random.default_rng(0).integers(20, 90, (8, 8, 4)).astype(np.uint8)
    with pytest.raises(ImageError, match="infrared"):
        read_image(encoded(Image.fromarray(bands, "RGBA"), "TIFF"))
    bands[..., 3] = np.where(np.arange(64).reshape(8, 8) % 3, 255, 0)
    read = read_image(encoded(Image.fromarray(bands, "RGBA"), "TIFF"))
    np.testing.assert_array_equal(read[bands[..., 3] == 255], bands[bands[..., 3] == 255][:, :3])


def test_a_transparent_colour_of_an_rgb_png_is_white() -> None:
    assert corners(read_image(encoded(quadrants(), "PNG", transparency=GREEN))) == [RED, WHITE, BLUE, WHITE]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(file_format: str) -> None:
    wide = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    read = read_image(encoded(Image.fromarray(wide), file_format))
    np.testing.assert_array_equal(read, np.rint(wide / 257)[:, :, None].repeat(3, axis=2))
    assert len(np.unique(read)) == 64


def test_sixteen_bit_colour_is_scaled() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixel = struct.pack(">HHH", 0xFFFF, 0x8000, 0x0000)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + pixel * 2))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_allclose(read_image(png), [[[255, 128, 0]] * 2], atol=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-2.0, 0.0, 2.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_tiff_is_scaled_by_its_range(values: list[float], expected: list[int]) -> None:
    read = read_image(encoded(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    np.testing.assert_allclose(read[0, :, 0], expected, atol=1)


def test_float_tiff_with_nan_is_refused() -> None:
    with pytest.raises(ImageError, match="not finite"):
        read_image(encoded(Image.fromarray(np.array([[0.0, np.nan]], np.float32)), "TIFF"))


def test_cmyk_jpeg_has_its_colours() -> None:
    read = read_image(encoded(quadrants().convert("CMYK"), "JPEG", quality=95))  # Adobe's inverted kind
    np.testing.assert_allclose(np.array(corners(read), float), [RED, GREEN, BLUE, WHITE], atol=40)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_undone(file_format: str, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = (
        {"lossless": True}
        if file_format == "WEBP"
        else {"quality": 95, "subsampling": 0}
        if file_format == "JPEG"
        else {}
    )
    stored = Image.fromarray(np.asarray(quadrants()))
    read = read_image(encoded(stored, file_format, exif=exif, **options))
    np.testing.assert_allclose(read.astype(float), np.rot90(np.asarray(quadrants()), turn), atol=80)


def test_a_mirrored_exif_orientation_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 2
    assert corners(read_image(encoded(quadrants(), "PNG", exif=exif))) == [GREEN, RED, WHITE, BLUE]


def test_an_image_with_damaged_exif_is_read() -> None:
    png = encoded(quadrants(), "PNG", exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(read_image(png), np.asarray(quadrants()))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    animation = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_image(animation), np.full((8, 8, 3), RED))


def noise_jpeg() -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_truncated_image_is_refused(file_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, file_format)
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        read_image(data[: len(data) * 2 // 3])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@settings(max_examples=60)
@given(st.integers(0, 2000), st.integers(0, 255), st.integers(0, 2000))
def test_damage_never_surfaces_as_another_error(position: int, value: int, length: int) -> None:
    data = bytearray(noise_jpeg())
    data[position % len(data)] = value
    try:
        image = read_image(bytes(data[: max(1, len(data) - length)]))
    except ImageError as error:
        assert str(error)
    else:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3


def test_files_that_are_no_images_are_refused_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="empty"):
        read_image(tmp_path / "empty.png")
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="not an image"):
        read_image(b"<html>not found</html>")


def test_formats_that_run_programs_are_not_opened() -> None:
    with pytest.raises(ImageError, match="a PostScript file"):
        read_image(encoded(quadrants(), "EPS"))


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 2
    for width in (side, side * 3):  # above `MAX_PIXELS`, and above Pillow's own limit
        header = struct.pack(">IIBBBBB", width, side, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        # The file has no pixel data: decoding it would raise another error, about the missing data.
        with pytest.raises(ImageError, match="bomb"):
            read_image(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", 0))


def test_resize_policies() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 255  # the middle square is white
    assert resize_image(wide, 16, "squash").shape == (16, 16, 3)
    np.testing.assert_array_equal(resize_image(wide, 10, "crop"), 255)
    padded = resize_image(np.full((10, 40, 3), 200, np.uint8), 20, "pad")
    np.testing.assert_array_equal(padded[:7], 0)
    np.testing.assert_array_equal(padded[8:12], 200)
    np.testing.assert_array_equal(padded[13:], 0)
    with pytest.raises(ValueError, match="squash, pad, crop"):
        resize_image(wide, 10, "stretch")


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for interpolation in ("bilinear", "bicubic"):
        np.testing.assert_allclose(resize_image(stripes, 8, "squash", interpolation)[:, 1:-1], 127.5, atol=12)


@settings(max_examples=50)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 48),
    st.sampled_from(["squash", "pad", "crop"]),
    st.integers(0, 255),
)
def test_resized_images_are_square_and_keep_a_flat_colour(
    height: int, width: int, size: int, policy: str, grey: int
) -> None:
    image = np.full((height, width, 3), grey, np.uint8)
    resized = resize_image(image, size, policy)
    assert resized.shape == (size, size, 3)
    assert resized.dtype == np.uint8
    assert set(np.unique(resized)) <= ({grey, 0} if policy == "pad" else {grey})


def test_an_image_of_the_right_size_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    for policy in ("squash", "pad", "crop"):
        assert resize_image(image, 24, policy) is image


def test_array_images() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = gray[:, :, None].repeat(3, axis=2)
    for array in (gray, gray[:, :, None], gray.astype(np.float32) + 0.3, gray.astype(np.int64), expected):
        np.testing.assert_array_equal(array_image(array), expected)
    for bad in (np.zeros((3, 4, 2)), np.zeros(3), np.full((3, 4), -1), np.full((3, 4), 256.0), np.full((3, 4), np.nan)):
        with pytest.raises(ImageError):
            array_image(bad)
    with pytest.raises(ImageError, match="numbers"):
        array_image(np.full((3, 4), "x"))
