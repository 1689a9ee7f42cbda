"""The places of images on a map, and the sample of images that it shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.probing.image_map import (
    COMPONENTS,
    LEAST_IMAGES,
    neighbours,
    place_images,
    principal_components,
    stratified_sample,
)


def groups(count: int, each: int, d: int = 96, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of ``count`` well separated groups, and the group of each."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(count), each)
    return (rng.normal(0, 5, (count, d))[y] + rng.normal(0, 1, (len(y), d))).astype(np.float32), y


def test_alike_images_lie_together_and_the_places_are_always_the_same() -> None:
    features, y = groups(4, 25)
    components = principal_components(features, 0)
    assert components.shape == (100, COMPONENTS)
    places = place_images(components, 0)
    assert places.shape == (100, 2) and places.dtype == np.float32
    assert places.min() == 0.0 and places.max() == 1.0
    nearest = neighbours(places, 5)
    assert (y[nearest] == y[:, None]).mean() > 0.95
    np.testing.assert_array_equal(place_images(principal_components(features, 0), 0), places)


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((LEAST_IMAGES, 8), np.float32),
        np.full((20, 3), 1e30, np.float32),
        np.eye(6, 1, dtype=np.float32),
        np.repeat(np.eye(3, 4, dtype=np.float32), 7, axis=0) * 1e-30,
        np.random.default_rng(0).normal(size=(LEAST_IMAGES, 500)).astype(np.float32) * 1e30,
    ],
)
def test_features_of_any_kind_have_places(features: np.ndarray) -> None:
    places = place_images(principal_components(features, 0), 0)
    assert places.shape == (len(features), 2) and np.isfinite(places).all()
    assert places.min() >= 0.0 and places.max() <= 1.0


@settings(max_examples=60)
@example([0] * 6 + [1, -1, -1, 2], 7, 0)
@given(st.lists(st.integers(-1, 5), min_size=1, max_size=300), st.integers(7, 60), st.integers(0, 3))
def test_a_sample_holds_each_stratum_with_its_share(strata: list[int], most: int, seed: int) -> None:
    labels = np.array(strata, np.int64)
    rows = stratified_sample(labels, most, seed)
    assert len(rows) == min(most, len(labels)) and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, stratified_sample(labels, most, seed))
    found, counts = (np.bincount(each + 1, minlength=7) for each in (labels[rows], labels))
    wanted = counts * len(rows) / len(labels)
    # Shares are rounded up, since every stratum has an image; together, the strata pay for that by their shares.
    paid = counts / len(labels) * np.count_nonzero(counts)
    assert (
        (found[counts > 0] >= 1).all() and (found <= wanted + 1 + 1e-9).all() and (found >= wanted - paid - 1e-9).all()
    )


def test_neighbours_are_the_nearest_others() -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    np.testing.assert_array_equal(neighbours(line, 2), [[1, 2], [0, 2], [1, 0], [2, 1]])
    assert neighbours(line, 10).shape == (4, 3)
