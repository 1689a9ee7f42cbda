"""Images with more than 8 bits are scaled by the range of their data set, everywhere alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.images import problems_of, sample_image, save
from trainer.batches.pixel_cache import open_pixels
from trainer.data.images import FileImages
from trainer.data.read import read_images


@pytest.fixture
def twelve_bits(tmp_path: Path) -> Path:
    """Two classes of 16-bit images whose values lie in 0..3000, one animation, two test images."""
    for seed in range(6):
        path = tmp_path / "data" / "train" / ("sick" if seed % 2 else "well") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample_image(seed)[..., 0].astype(np.uint16) * 11).save(path)
    for seed in range(2):
        save(tmp_path / "data" / "test" / f"{seed}.png", 100 + seed)
    return tmp_path / "data"


def test_the_range_is_measured_and_applied(twelve_bits: Path) -> None:
    found = read_images(twelve_bits)
    assert found.value_ranges == {"integer": (0.0, 4095.0)}
    levels = np.unique(np.concatenate([found.train_images.read(i).ravel() for i in range(6)]))
    assert len(levels) > 100 and levels.max() > 150
    np.testing.assert_array_equal(found.test_images.read(0), sample_image(100))
    assert "6 images with more than 8 bits: the values 0 to 4095 are scaled to 0 to 255" in found.notes
    assert not found.warnings


def test_a_recorded_range_is_used_instead(twelve_bits: Path) -> None:
    measured = read_images(twelve_bits, verify=False)
    as_before = read_images(twelve_bits, verify=False, ranges={})
    assert as_before.train_images.read(0).max() < 20, "0..65535, as in studies without a record"
    recorded = read_images(twelve_bits, verify=False, ranges=measured.value_ranges)
    np.testing.assert_array_equal(recorded.train_images.read(1), measured.train_images.read(1))
    np.testing.assert_array_equal(recorded.train_images.subset([1]).read(0), measured.train_images.read(1))
    assert recorded.fingerprint == as_before.fingerprint


def test_cached_pixels_of_another_range_are_not_used(twelve_bits: Path, tmp_path: Path) -> None:
    paths, brightest = set(), []
    for ranges in ({}, {"integer": (0.0, 4095.0)}, {"integer": (0.0, 8191.0)}):
        image_set = read_images(twelve_bits, verify=False, ranges=ranges)
        pixels = open_pixels(image_set, size=16, resize="squash", interpolation="bilinear", folder=tmp_path / "pixels")
        paths.add(pixels.path)
        brightest.append(int(pixels.train.max()))
    assert len(paths) == 3
    assert brightest[0] < 20 < brightest[2] < brightest[1]


def test_images_that_stay_dark_beside_others_are_reported(twelve_bits: Path) -> None:
    Image.fromarray(sample_image(50)[..., 0].astype(np.uint16) * 257).save(twelve_bits / "train" / "sick" / "50.png")
    (warning,) = read_images(twelve_bits).warnings
    assert warning.startswith("6 of 7 images with more than 8 bits use less than 1/16 of the range 0 to 65535")


def test_animations_are_reported(twelve_bits: Path) -> None:
    frames = [Image.fromarray(sample_image(seed)) for seed in (60, 61)]
    frames[0].save(twelve_bits / "train" / "sick" / "60.gif", save_all=True, append_images=frames[1:])
    frames[0].save(twelve_bits / "train" / "well" / "60.tif", save_all=True, append_images=frames[1:])
    assert "several frames or pages in 2 images; only the first one is read" in read_images(twelve_bits).warnings


def test_a_fourth_channel_of_unknown_meaning_is_reported(tmp_path: Path) -> None:
    """As infrared light, which Pillow drops; a fourth channel that a tag calls transparency is another matter."""
    for seed in range(4):
        folder = tmp_path / ("field" if seed % 2 else "wood")
        rgb = save(folder / f"{seed}.png", seed)
        infrared = np.full((*np.asarray(Image.open(rgb)).shape[:2], 1), 99, np.uint8)
        pixels = np.concatenate([np.asarray(Image.open(rgb)), infrared], axis=2)
        Image.frombytes("RGBX", pixels.shape[1::-1], pixels.tobytes()).save(rgb.with_suffix(".tif"))
        rgb.unlink()
    found = read_images(tmp_path)
    expected = (
        "a fourth channel in 4 images, as of infrared light, is not read; the first three are red, green and blue"
    )
    assert found.warnings == (expected,)


def test_images_of_eight_bits_have_no_range(tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path / ("a" if seed % 2 else "b") / f"{seed}.png", seed)
    found = read_images(tmp_path)
    assert found.value_ranges == {}
    assert isinstance(found.train_images, FileImages) and found.train_images.ranges == {}


def _floats(folder: Path, no_data: float | None) -> Path:
    for seed in range(6):
        path = folder / ("sick" if seed % 2 else "well") / f"{seed}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = sample_image(seed)[..., 0].astype(np.float32) / 255
        if no_data is not None:
            pixels[:6] = no_data
        Image.fromarray(pixels).save(path)
    return folder


@pytest.mark.parametrize("no_data", [-3.4e38, 3.4e38, -9999.0, -32768.0, 1e20, np.nan])
def test_a_no_data_value_is_left_out_of_the_range(tmp_path: Path, no_data: float) -> None:
    found = read_images(_floats(tmp_path, no_data))
    (warning,) = found.warnings
    shown = "NaN" if np.isnan(no_data) else f"{np.float32(no_data):g}, far from their other values 0 to 1"
    assert warning.startswith(f"6 of 6 images with floating-point values hold {shown}: probably a no-data value")
    assert found.value_ranges == {"float": (0.0, 1.0)}
    image = found.train_images.read(0)
    assert (image[:6] == (255 if no_data > 1 else 0)).all()
    np.testing.assert_array_equal(image[6:, :, 0], sample_image(1)[6:, :, 0])  # "sick" comes first


def test_a_single_image_and_a_large_range_are_written_in_full(tmp_path: Path) -> None:
    folder = _integers(tmp_path, 0, images=0)
    for seed in range(1, 6):
        save((folder / ("sick" if seed % 2 else "well") / f"{seed}.tif"), seed)
    wide = np.random.default_rng(0).integers(0, 2**31, (24, 24)).astype(np.int32)
    Image.fromarray(wide).save(folder / "well" / "0.tif")
    notes = read_images(folder).notes
    assert "1 image with more than 8 bits: the values 0 to 2147483647 are scaled to 0 to 255" in notes


def _integers(folder: Path, no_data: int, images: int = 6, rows: int = 6, low: int = 0) -> Path:
    """Six images with values in ``low`` to ``low`` + 1000, and in the first ``images`` a no-data value."""
    for seed in range(6):
        path = folder / ("sick" if seed % 2 else "well") / f"{seed}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = low + np.random.default_rng(seed).integers(0, 1001, (24, 24)).astype(np.int32)
        pixels[:rows] = no_data if seed < images else pixels[:rows]
        Image.fromarray(pixels if no_data < 0 else pixels.astype(np.uint16)).save(path)
    return folder


@pytest.mark.parametrize(("no_data", "becomes"), [(-9999, 0), (-999, 0), (-32768, 0), (65535, 255)])
@pytest.mark.parametrize("images", [1, 6])
def test_a_no_data_value_of_some_images(tmp_path: Path, no_data: int, becomes: int, images: int) -> None:
    found = read_images(_integers(tmp_path, no_data, images))
    assert found.value_ranges == {"integer": (0.0, 1023.0)}
    (warning,) = found.warnings
    hold, its = ("holds", "its") if images == 1 else ("hold", "their")
    shown = f"{images} of 6 images with more than 8 bits {hold} {no_data}, far from {its} other values"
    assert warning.startswith(shown)
    assert f"becomes {becomes}" in warning
    place = found.train_ids.index("well/0.tif")
    assert (found.train_images.read(place)[:6] == becomes).all()


def test_an_image_of_no_data_alone_does_not_take_the_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((24, 24), -9999, np.int32)).save(_integers(tmp_path, -9999) / "well" / "0.tif")
    found = read_images(tmp_path)
    assert found.value_ranges == {"integer": (0.0, 1023.0)} and found.warnings[0].startswith("6 of 6 images")


def test_an_unusual_value_far_below_the_others_is_no_data(tmp_path: Path) -> None:
    found = read_images(_integers(tmp_path, 0, low=5000))
    assert found.value_ranges["integer"][0] == 5000 and "hold 0, far from" in found.warnings[0]


def test_clipped_images_have_no_no_data_value(tmp_path: Path) -> None:
    for seed in range(6):
        path = tmp_path / ("sick" if seed % 2 else "well") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 100000, (24, 24)).clip(0, 65535)
        Image.fromarray(values.astype(np.uint16)).save(path)
    found = read_images(tmp_path)
    assert not found.warnings and found.value_ranges == {"integer": (0.0, 65535.0)}


def test_few_gray_levels_without_a_no_data_value_are_reported(tmp_path: Path) -> None:
    for seed in range(6):
        path = tmp_path / ("sick" if seed % 2 else "well") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 1001, (24, 24))
        Image.fromarray(np.where(values > 500, 60000 + values, values).astype(np.uint16)).save(path)
    (warning,) = read_images(tmp_path).warnings
    assert warning.startswith("6 of 6 images with more than 8 bits keep fewer than 16 gray levels")


def test_infinite_values_are_refused(tmp_path: Path) -> None:
    assert "not finite" in problems_of(_floats(tmp_path, np.inf))


def test_floats_without_a_no_data_value_are_not_reported(tmp_path: Path) -> None:
    assert not read_images(_floats(tmp_path, None)).warnings


def _eight_bits(folder: Path, levels: int, factor: int = 1) -> Path:
    for seed in range(6):
        path = folder / ("sick" if seed % 2 else "well") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample_image(seed)[..., 0] // (256 // levels) * factor).save(path)
    return folder


@pytest.mark.parametrize(("levels", "values"), [(2, "0 and 1"), (8, "0 to 7")])
def test_masks_that_are_nearly_black_are_reported(tmp_path: Path, levels: int, values: str) -> None:
    (warning,) = read_images(_eight_bits(tmp_path, levels)).warnings
    assert warning.startswith("6 of 6 training images have fewer than 16 gray levels")
    assert f"values {values} only" in warning


def test_black_and_white_drawings_are_not_reported(tmp_path: Path) -> None:
    assert not read_images(_eight_bits(tmp_path, 2, factor=255)).warnings
