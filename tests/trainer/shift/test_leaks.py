"""Metadata that reveal whether an image is from the test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.common.errors import DataError
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.shift.leaks import metadata_features


@pytest.fixture
def image_set(kaggle: Callable[..., Path]) -> ImageSet:
    """Six training and three test images, PNG, 24 x 24."""
    return read_images(kaggle(), DataOptions())


def test_what_all_images_share_is_no_leak(image_set: ImageSet) -> None:
    found = metadata_features(image_set)
    assert set(found) == {"file size"}, "noise compresses a little differently"
    sizes = [
        len(images.content(i)) for images in (image_set.train_images, image_set.test_images) for i in range(len(images))
    ]
    np.testing.assert_array_equal(found["file size"][:, 0], sizes)


def test_sides_and_endings(image_set: ImageSet, tmp_path: Path) -> None:
    folder = image_set.root / "test_images"
    for path in list(folder.iterdir()):
        Image.open(path).resize((48, 12)).save(path.with_suffix(".jpeg"))
        path.unlink()
    found = metadata_features(read_images(image_set.root, DataOptions()))
    assert set(found) == {"image sides", "file size", "file format"}
    np.testing.assert_array_equal(found["image sides"][[0, -1]], [[24, 24, 1], [12, 48, 4]])
    np.testing.assert_array_equal(found["file format"], [[0, 1]] * 6 + [[1, 0]] * 3)


def test_unverified_images_are_looked_at(image_set: ImageSet) -> None:
    blind = replace(image_set, inspected=None)
    assert set(metadata_features(blind)) == {"file size"}
    next((image_set.root / "test_images").iterdir()).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        metadata_features(image_set)
