"""Image descriptors measure what their names say."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from tests.trainer.images import sample_image, save
from trainer.common.errors import DataError
from trainer.data.images import ArrayImages, FileImages
from trainer.shift.descriptors import N_FEATURES, SCALARS, describe_image, describe_images


def scalars(made: Image.Image | NDArray[np.uint8]) -> dict[str, float]:
    numbers = describe_image(np.asarray(made))
    return {name: float(value) for name, value in zip(SCALARS, numbers, strict=False)}


@pytest.fixture
def photograph() -> Image.Image:
    """Smooth and detailed at once: (128, 96)."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(30, 220, (6, 8, 3)).astype(np.uint8)).resize(
        (128, 96), Image.Resampling.BICUBIC
    )
    fine = np.asarray(coarse, np.float64) + rng.normal(0, 12, (96, 128, 3))
    return Image.fromarray(np.clip(fine, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda image: ImageEnhance.Brightness(image).enhance(0.6)),
        ("contrast", lambda image: ImageEnhance.Contrast(image).enhance(0.5)),
        ("saturation", lambda image: ImageEnhance.Color(image).enhance(0.4)),
        ("sharpness", lambda image: image.filter(ImageFilter.GaussianBlur(2))),
    ],
)
def test_less_of_something_is_a_smaller_number(name: str, change: object, photograph: Image.Image) -> None:
    assert callable(change)
    assert scalars(change(photograph))[name] < scalars(photograph)[name] - 0.02


def test_compression_leaves_blocks(photograph: Image.Image) -> None:
    stored = io.BytesIO()
    photograph.save(stored, "JPEG", quality=10)
    assert scalars(Image.open(stored))["blockiness"] > scalars(photograph)["blockiness"] + 0.3


def test_size_alone_changes_little(photograph: Image.Image) -> None:
    """Descriptors leave out the sides: twice the size changes little besides sharpness and blockiness."""
    large = np.asarray(photograph.resize((256, 192), Image.Resampling.BILINEAR))
    pair = [describe_image(np.asarray(photograph)), describe_image(large)]
    pixels = [SCALARS.index(name) for name in ("sharpness", "blockiness")]
    a, b = (np.delete(one, pixels) for one in pair)
    other = np.delete(describe_image(sample_image(3, 96)), pixels)
    assert np.abs(a - b).mean() < 0.2 * np.abs(a - other).mean()


def test_a_gray_image_has_no_hue_and_a_plain_one_no_edges() -> None:
    plain = describe_image(np.full((20, 30, 3), 128, np.uint8))
    assert np.isfinite(plain).all()
    assert (plain[11 : 11 + 12] == 0).all(), "hues"
    assert (plain[-128:] == 0).all(), "directions"


@settings(max_examples=30)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_every_image_has_finite_numbers(pixels: NDArray[np.uint8]) -> None:
    numbers = describe_image(pixels)
    assert numbers.shape == (N_FEATURES,) and numbers.dtype == np.float32
    assert np.isfinite(numbers).all()


def test_images_in_their_order_with_progress() -> None:
    images = ArrayImages(label="a.npz", array=np.stack([sample_image(i) for i in range(5)]), rows=(4, 0, 2))
    seen: list[tuple[int, int]] = []
    found = describe_images(images, lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(found, np.stack([describe_image(sample_image(i)) for i in (4, 0, 2)]))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert describe_images(images.subset([])).shape == (0, N_FEATURES)


def test_unreadable_images_are_all_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0)
    (tmp_path / "b.png").write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        describe_images(FileImages(root=tmp_path, paths=("a.png", "b.png", "gone.png")))
    assert len(caught.value.problems) == 2
    assert "b.png: " in str(caught.value) and "gone.png: there is no such file" in str(caught.value)
