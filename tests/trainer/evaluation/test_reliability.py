"""Reliability of probabilities: calibrated ones have no error, overconfident ones a known one."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.reliability import reliability


def two_classes(confidence: np.ndarray) -> np.ndarray:
    return np.stack([1.0 - confidence, confidence], axis=1).astype(np.float32)


def test_calibrated_probabilities_have_a_small_error() -> None:
    draws = np.random.default_rng(0)
    confidence = draws.uniform(0.5, 1.0, 50_000)
    y = (draws.random(50_000) < confidence).astype(np.int64)
    found = reliability(y, two_classes(confidence))
    assert found.error < 0.01 and abs(found.overconfidence) < 0.01
    assert sum(b.images for b in found.bins) == 50_000
    assert [b.confidence for b in found.bins] == sorted(b.confidence for b in found.bins)


def test_an_overconfident_model_is_found_out() -> None:
    y = np.array([1] * 6 + [0] * 4)
    found = reliability(y, two_classes(np.full(10, 0.95)))
    assert found.error == pytest.approx(0.35) and found.overconfidence == pytest.approx(0.35)
    assert [(b.images, b.accuracy) for b in found.bins] == [(10, 0.6)]


def test_certainty_is_in_the_last_bin() -> None:
    assert reliability(np.array([1]), two_classes(np.array([1.0]))).bins[0].confidence == 1.0


def test_probabilities_of_other_images_are_refused() -> None:
    for y, rows in ((np.array([0]), 2), (np.empty(0, np.int64), 0)):
        with pytest.raises(ValueError, match="cannot judge"):
            reliability(y, np.full((rows, 2), 0.5))
