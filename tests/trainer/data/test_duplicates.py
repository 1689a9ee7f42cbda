"""Near-duplicates: planted ones are found, and different images of one layout are not merged."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from tests.trainer.images import sample_image
from trainer.data.description import duplicate_lines
from trainer.data.duplicates import find_duplicates, near_duplicate_pairs
from trainer.data.inspection import InspectedImages, hash_and_thumbnail
from trainer.data.read import read_images


def inspected(images: list[NDArray[np.uint8]]) -> InspectedImages:
    results = [hash_and_thumbnail(image) for image in images]
    return InspectedImages(
        hashes=np.array([value for value, _ in results], np.uint64),
        thumbnails=np.stack([thumbnail for _, thumbnail in results]),
        sizes=np.array([image.shape[:2] for image in images], np.int64),
    )


def photograph(seed: int, side: int = 128) -> NDArray[np.uint8]:
    """Structure on several scales, as photographs have: uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    scales = [4, 8, 16, 32]
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3)).astype(np.uint8)).resize(
                (side, side), Image.Resampling.BICUBIC
            ),
            np.float64,
        )
        for n in scales
    ]
    return np.clip(sum(layers) / len(layers), 0, 255).astype(np.uint8)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("change", ["jpeg", "half", "darker", "gray", "stretched"])
def test_a_changed_copy_is_found_among_others(change: str) -> None:
    original = Image.fromarray(photograph(0))
    copy = {
        "jpeg": lambda: as_jpeg(original, 40),
        "half": lambda: original.resize((64, 64)),
        "darker": lambda: ImageEnhance.Brightness(original).enhance(0.7),
        "gray": lambda: original.convert("L"),
        "stretched": lambda: original.resize((200, 100)),
    }[change]()
    others = [photograph(seed) for seed in range(1, 40)]
    images = [photograph(0), *others, np.asarray(copy.convert("RGB"))]
    np.testing.assert_array_equal(near_duplicate_pairs(inspected(images)), [[0, 40]])


def test_distinct_digits_are_not_merged() -> None:
    from sklearn.datasets import load_digits

    images = np.rint(load_digits().images[:600] * (255 / 16)).astype(np.uint8)
    pairs = near_duplicate_pairs(inspected([np.repeat(image[:, :, None], 3, axis=2) for image in images]))
    assert len(pairs) <= 5  # of 179,700


def test_images_of_one_colour_match_nothing() -> None:
    plain = [np.full((16, 16, 3), value, np.uint8) for value in (0, 0, 128, 255)]
    assert len(near_duplicate_pairs(inspected(plain))) == 0


def test_groups_do_not_chain(tmp_path: Path) -> None:
    """A slow cross-fade: neighbours are near-duplicates, the ends are not, and every pair of a group is one."""
    start, end = photograph(1).astype(float), photograph(2).astype(float)
    for step in range(13):
        mixed = (start + (end - start) * step / 12).astype(np.uint8)
        path = tmp_path / ("even" if step % 2 else "odd") / f"{step:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mixed).save(path)
    found = find_duplicates(read_images(tmp_path))
    similar = {tuple(pair) for pair in found.pairs.tolist()}
    assert 12 <= len(similar) < 13 * 12 / 2
    assert len(set(found.groups.tolist())) > 1
    for group in set(found.groups.tolist()):
        members = np.flatnonzero(found.groups == group)
        assert all((i, j) in similar for i in members for j in members if i < j)


def test_two_labels_and_train_and_test_are_reported(tmp_path: Path) -> None:
    for name, seed in (("cat/a", 0), ("cat/b", 1), ("dog/c", 2), ("dog/a2", 0), ("test/b2", 1), ("test/d", 3)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(photograph(seed)).save(path)
    for image_set in (read_images(tmp_path), read_images(tmp_path, verify=False)):
        found = find_duplicates(image_set)
        ids = image_set.train_ids
        assert [(ids[i], ids[j]) for i, j in found.two_labels] == [("cat/a.png", "dog/a2.png")]
        assert [(ids[i], image_set.test_ids[j - 4]) for i, j in found.train_and_test] == [("cat/b.png", "b2.png")]
        np.testing.assert_array_equal(found.groups, [0, 1, 0, 2, 1, 3])
        text = "\n".join(duplicate_lines(image_set, found))
        assert "cat/a.png (cat) and dog/a2.png (dog)" in text
        assert "cat/b.png (cat) and b2.png" in text


def test_ten_thousand_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    some = np.stack([sample_image(seed, 32)[..., 0] for seed in range(50)])
    thumbnails = np.concatenate([some, rng.integers(0, 256, (9950, 32, 32)).astype(np.uint8)])
    hashes = rng.integers(0, 2**63, 10_000).astype(np.uint64)
    hashes[9999], thumbnails[9999] = hashes[7], thumbnails[7]
    start = time.process_time()
    pairs = near_duplicate_pairs(
        InspectedImages(hashes=hashes, thumbnails=thumbnails, sizes=np.zeros((10_000, 2), np.int64))
    )
    assert time.process_time() - start < 20
    np.testing.assert_array_equal(pairs, [[7, 9999]])
