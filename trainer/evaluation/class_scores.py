"""Precision, recall and F1 of each class, and the most frequent confusions, from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The scores of one class, each 0 to 1."""

    label: int
    """Class index."""
    images: int
    """Number of images of the class."""
    precision: float | None
    """Share of the images predicted as this class that are of it; None if none was predicted."""
    recall: float | None
    """Share of the images of this class that are predicted as it; None if it has none."""
    f1: float | None
    """Harmonic mean of both; None if the class neither occurs nor was predicted."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of one class that are taken for another one."""

    true: int
    predicted: int
    count: int
    """Number of these images."""
    images: int
    """Number of images of the true class."""


def class_scores(counts: NDArray[np.int64]) -> list[ClassScore]:
    """Scores of all classes in their order, as scikit-learn defines them.

    Args:
        counts: images by true and predicted class, int64 ``(C, C)`` (`trainer.evaluation.confusion_matrix`).
    """
    hits, images, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return [
        ClassScore(
            label=label,
            images=int(images[label]),
            precision=_share(hits[label], predicted[label]),
            recall=_share(hits[label], images[label]),
            f1=_share(2 * hits[label], images[label] + predicted[label]),
        )
        for label in range(len(counts))
    ]


def confusions(counts: NDArray[np.int64]) -> list[Confusion]:
    """All pairs of classes that are confused, the most frequent first; ties by the share of the true class.

    Args:
        counts: as in `class_scores`.
    """
    images = counts.sum(axis=1)
    found = [
        Confusion(true=int(i), predicted=int(j), count=int(counts[i, j]), images=int(images[i]))
        for i, j in zip(*np.nonzero(counts), strict=True)
        if i != j
    ]
    return sorted(found, key=lambda c: (-c.count, -c.count / c.images, c.true, c.predicted))


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part) / float(whole) if whole else None
