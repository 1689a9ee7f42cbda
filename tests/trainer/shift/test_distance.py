"""The distance of test images to the training images."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.shift.distance import NEIGHBOUR, distance_to_training


def test_an_image_in_another_direction_is_the_farthest() -> None:
    draws = np.random.default_rng(0)
    train = (np.array([5.0, 0.0, 0.0]) + draws.normal(0, 0.3, (50, 3))).astype(np.float32)
    test = np.array([[5.0, 0.1, 0.0], [0.0, 4.0, 0.0], [50.0, 0.0, 1.0]], np.float32)
    distances = distance_to_training(train, test)
    assert distances.argmax() == 1 and distances[1] == pytest.approx(np.sqrt(2), abs=0.2)
    assert distances[2] < 0.3, "the length of the features does not count"


def test_one_equal_training_image_does_not_make_an_image_near() -> None:
    draws = np.random.default_rng(1)
    train = np.abs(draws.normal(0, 1, (40, 4))).astype(np.float32)
    odd = np.array([[-1.0, -1.0, -1.0, -1.0]], np.float32)
    alone = distance_to_training(train, odd)
    assert distance_to_training(np.concatenate([train, odd]), odd)[0] > 1.0
    assert NEIGHBOUR > 1 and alone[0] > 1.0


def test_fewer_training_images_than_neighbours() -> None:
    one = np.ones((1, 2), np.float32)
    opposite = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    assert distance_to_training(one, opposite) == pytest.approx([0.0, 2.0], abs=1e-6)
    assert distance_to_training(one, np.zeros((0, 2), np.float32)).shape == (0,)
    assert np.isfinite(distance_to_training(np.zeros((3, 2), np.float32), one)).all()


def test_many_test_images_are_compared_in_blocks() -> None:
    draws = np.random.default_rng(2)
    train, test = (draws.normal(0, 1, (n, 3)).astype(np.float32) for n in (20, 2500))
    whole = distance_to_training(train, test)
    assert whole[1500:1502] == pytest.approx(distance_to_training(train, test[1500:1502]))
