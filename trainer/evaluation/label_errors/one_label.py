"""Confident learning: labels that out-of-fold probabilities contradict, and the expected share of wrong labels.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels"
(arXiv 1911.00068). The method assumes that the noise depends on the class alone, not on the single image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.metrics import Probabilities

MOST_SUSPICIOUS = 1 / 3
"""Largest believable share of suspicious labels. With a fifth of the labels changed, up to 26 % were suspicious; a
network that is wrong on most images makes most labels suspicious.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelErrors:
    """The suspicious ones among n labels, the least probable label first."""

    rows: NDArray[np.int64]
    """Images with suspicious labels: int64, shape (s,)."""
    suggested: NDArray[np.int64]
    """The most probable class of each of `rows`, never its label: int64, shape (s,)."""
    label_proba: Float64Array
    """Probability of the label of each of `rows`: float64, shape (s,), rising, 0 .. 1."""
    suggested_proba: Float64Array
    """Probability of the suggested class of each of `rows`: float64, shape (s,), 0 .. 1."""
    expected_share: float
    """Estimated share of wrong labels among the judged images, 0 .. 1."""
    judged: int
    """Number of images with probabilities."""

    @property
    def too_many(self) -> bool:
        """Whether so many labels are suspicious that the predictions are rather at fault (`MOST_SUSPICIOUS`)."""
        return len(self.rows) > MOST_SUSPICIOUS * self.judged


def find_label_errors(y: NDArray[np.int64], proba: Probabilities) -> LabelErrors:
    """Find the labels that held-out probabilities contradict.

    The threshold of a class is the mean probability of this class over the images with its label. An image counts
    towards the most probable of the classes whose threshold it reaches. These counts, by label and by class, are scaled
    so that each label keeps its number of images. Their share off the diagonal is the expected share of wrong labels.

    Of the images with one label, as many are suspicious as count towards another class: those with the lowest
    probability of the label ("prune by class", with the counts before scaling). The most probable class must differ.

    Args:
        y: labels, int64, shape (n,), 0 .. C - 1.
        proba: probabilities by models that were not trained on the image, shape (n, C). A row with NaN is not judged.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if proba.ndim != 2 or y.shape != proba.shape[:1]:
        raise ValueError(f"probabilities of shape {proba.shape} do not fit {len(y)} labels")
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1)).astype(np.int64)
    labels, p = y[judged], proba[judged].astype(np.float64)
    if not len(judged):
        none, nothing = np.empty(0, np.int64), np.empty(0)
        return LabelErrors(
            rows=none, suggested=none, label_proba=nothing, suggested_proba=nothing, expected_share=0.0, judged=0
        )
    own, likeliest = p[np.arange(len(p)), labels], p.argmax(axis=1)
    counts = _confident_counts(labels, p, own)
    sizes, totals = np.bincount(labels, minlength=p.shape[1]), counts.sum(axis=1)
    right = counts.diagonal() / np.maximum(totals, 1)
    found: list[int] = []
    for label in np.flatnonzero(totals > counts.diagonal()):
        candidates = np.flatnonzero((labels == label) & (likeliest != labels))
        by_probability = candidates[np.argsort(own[candidates], kind="stable")]
        found += by_probability[: totals[label] - counts[label, label]].tolist()
    order = np.array(sorted(found, key=lambda i: (own[i], i)), np.int64)
    return LabelErrors(
        rows=judged[order],
        suggested=likeliest[order].astype(np.int64),
        label_proba=own[order],
        suggested_proba=p.max(axis=1)[order],
        expected_share=float((sizes * (1.0 - right)).sum() / len(p)),
        judged=len(p),
    )


def _confident_counts(labels: NDArray[np.int64], p: Float64Array, own: Float64Array) -> NDArray[np.int64]:
    """Number of images by label and by the class that they count towards: int64 (C, C)."""
    classes = p.shape[1]
    # No image counts towards a class of which none was judged.
    thresholds = np.full(classes, np.inf)
    for label in np.unique(labels):
        of_label = own[labels == label]
        thresholds[label] = min(of_label.mean(), of_label.max())  # rounding may lift the mean of equal numbers
    reached = p >= thresholds
    towards = np.where(reached, p, -np.inf).argmax(axis=1)
    counts = np.zeros((classes, classes), np.int64)
    counted = reached.any(axis=1)
    np.add.at(counts, (labels[counted], towards[counted]), 1)
    return counts
