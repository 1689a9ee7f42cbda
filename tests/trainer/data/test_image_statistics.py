"""Summary statistics of the images of a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.data.image_statistics import ImageStatistics, image_statistics
from trainer.data.images import ArrayImages


def images(array: np.ndarray) -> ArrayImages:
    return ArrayImages(label="a.npz arr_0", array=array, rows=tuple(range(len(array))))


def test_statistics_are_those_of_the_pixels() -> None:
    array = np.random.default_rng(0).integers(0, 256, (7, 20, 80, 3), dtype=np.uint8)
    found = image_statistics(images(array))
    scaled = array.reshape(-1, 3) / 255.0
    np.testing.assert_allclose(found.mean, scaled.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.std, scaled.std(axis=0), atol=1e-4)
    assert found.side == pytest.approx(40.0), "geometric mean of 20 and 80"
    assert ImageStatistics.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_sample_stands_for_many_and_a_grid_for_a_large_image() -> None:
    array = np.zeros((500, 2, 2, 3), np.uint8)
    array[::2] = 255
    read: list[int] = []

    class Counted(ArrayImages):
        def read(self, index: int) -> np.ndarray:
            read.append(index)
            return super().read(index)

    found = image_statistics(Counted(label="a", array=array, rows=tuple(range(500))))
    assert len(read) == len(set(read)) == 200
    assert {0, 499} <= set(read)
    assert found.mean[0] == pytest.approx(0.5, abs=0.1)
    large = np.zeros((1, 1200, 900, 3), np.uint8)
    large[:, 600:] = 255
    assert image_statistics(images(large)).mean == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
