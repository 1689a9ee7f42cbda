"""Pairs of images with nearly the same features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.probing import look_alikes
from trainer.probing.look_alikes import MIN_COSINE, TooManyPairs, similar_pairs


def test_altered_copies_are_found_across_blocks_closest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    features = (100.0 + rng.normal(size=(60, 30))).astype(np.float32)
    assert len(similar_pairs(features)[0]) == 0, "a common offset makes nothing alike"
    features[50] = features[3] + rng.normal(size=30) * 0.2
    features[59] = features[58]
    pairs, cosines = similar_pairs(features)
    assert pairs.tolist() == [[58, 59], [3, 50]]
    assert cosines[0] == pytest.approx(1.0) and 0.9 <= cosines[1] < 1.0


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 2**16), st.floats(1e-20, 1e20))
def test_properties(n: int, d: int, seed: int, scale: float) -> None:
    """The pairs are those of the definition, whatever the scale of the features."""
    features = (np.random.default_rng(seed).normal(size=(n, d)) * scale).astype(np.float32)
    pairs, cosines = similar_pairs(features)
    assert pairs.shape == (len(cosines), 2) and (pairs[:, 0] < pairs[:, 1]).all()
    assert (np.diff(cosines) <= 0).all() and (cosines >= MIN_COSINE).all() and (cosines <= 1).all()
    if n:
        centred = features.astype(np.float64) / scale
        centred -= centred.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1)
        expected = (centred @ centred.T) / np.maximum(np.outer(lengths, lengths), 1e-12)
        found = np.zeros((n, n), bool)
        found[pairs[:, 0], pairs[:, 1]] = True
        certain = (np.abs(expected - MIN_COSINE) > 1e-4) & (np.minimum.outer(lengths, lengths) > 1e-4)
        wanted = np.triu(expected >= MIN_COSINE, 1)
        assert np.array_equal(found & certain, wanted & certain)


def test_equal_images_have_no_direction() -> None:
    assert len(similar_pairs(np.full((5, 3), 0.1, np.float32))[0]) == 0


def test_images_that_are_all_alike_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_alikes, "MOST_PAIRS", 10)
    features = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0)
    with pytest.raises(TooManyPairs):
        similar_pairs(features)
