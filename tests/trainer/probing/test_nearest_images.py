"""The nearest images by features."""

from __future__ import annotations

import numpy as np

from trainer.probing.nearest_images import nearest_images


def test_the_nearest_come_first_and_never_the_image_itself() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 8)).astype(np.float32) + 5.0
    features[7] = features[3] + 0.01
    near = nearest_images(features, np.array([3, 7]), 4)
    assert near.shape == (2, 4) and (near[0, 0], near[1, 0]) == (7, 3)
    centred = features - features.mean(axis=0)
    cosines = centred @ centred[3] / np.linalg.norm(centred, axis=1) / np.linalg.norm(centred[3])
    assert near[0].tolist() == [row for row in np.argsort(-cosines).tolist() if row != 3][:4]


def test_there_are_no_more_than_all_others() -> None:
    features = np.eye(3, dtype=np.float32)
    assert nearest_images(features, np.array([0]), 9).shape == (1, 2)
    assert nearest_images(features, np.empty(0, np.int64), 9).shape == (0, 2)
