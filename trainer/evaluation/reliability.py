"""Reliability of probabilities: whether images predicted with a confidence of 80 % are right in 80 % of the cases.

The expected calibration error (ECE) is the mean difference between confidence and accuracy over bins of equal width,
weighted by their images (Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.metrics import Probabilities
from trainer.evaluation.targets import Labels

BINS = 10


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The images whose largest probability is in one range."""

    images: int
    """1 or more."""
    confidence: float
    """Mean of their largest probabilities, 0 to 1."""
    accuracy: float
    """Share of them whose most probable class is right, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Reliability of the predictions of n images."""

    bins: tuple[ReliabilityBin, ...]
    """By confidence; empty ranges are left out."""
    error: float
    """Expected calibration error, 0 to 1."""
    overconfidence: float
    """Mean confidence minus accuracy, -1 to 1."""


def reliability(y: Labels, proba: Probabilities) -> Reliability:
    """Measure the reliability of the most probable class.

    Args:
        y: classes of n images, at least one.
        proba: ``(n, C)``.

    Raises:
        ValueError: no images, or another number of images in ``proba``.
    """
    if not len(y) or proba.ndim != 2 or len(proba) != len(y):
        raise ValueError(f"cannot judge probabilities of shape {proba.shape} by {len(y)} labels")
    confidence = proba.max(axis=1).astype(np.float64)
    right = proba.argmax(axis=1) == y
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = tuple(
        ReliabilityBin(
            images=int(rows.sum()), confidence=float(confidence[rows].mean()), accuracy=float(right[rows].mean())
        )
        for rows in (number == i for i in range(BINS))
        if rows.any()
    )
    error = sum(b.images * abs(b.confidence - b.accuracy) for b in bins) / len(y)
    return Reliability(bins=bins, error=error, overconfidence=float(confidence.mean() - right.mean()))
