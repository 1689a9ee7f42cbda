"""Precision, recall and F1 of each class, and the most frequent confusions, from a confusion matrix.

Images with several labels have no confusion matrix: each label is scored by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.confusion.confusion_matrix import confusion_matrix
from trainer.evaluation.metrics import Probabilities, score
from trainer.evaluation.targets import Targets


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
        counts: images by true and predicted class, int64 ``(C, C)`` (`trainer.evaluation.confusion.confusion_matrix`).
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


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """The scores of one label."""

    score: ClassScore
    """Images with the label, precision, recall, F1."""
    predicted: int
    """Images that are predicted to have the label."""
    roc_auc: float | None
    """Area under the ROC curve; None if no image has the label, or every one."""


def label_scores(y: NDArray[np.int64], proba: Probabilities, predicted: NDArray[np.int64]) -> list[LabelScore]:
    """Scores of all labels in their order.

    Args:
        y: true labels, 0 and 1, int64 (n, C).
        proba: (n, C).
        predicted: predicted labels, 0 and 1, (n, C).
    """
    found = []
    for label in range(y.shape[1]):
        counts = confusion_matrix(y[:, label], predicted[:, label], 2)
        own = class_scores(counts)[1]
        area = score("roc_auc", Targets(y[:, [label]]), proba[:, [label]])
        found.append(
            LabelScore(
                score=ClassScore(label=label, images=own.images, precision=own.precision, recall=own.recall, f1=own.f1),
                predicted=int(counts[:, 1].sum()),
                roc_auc=area if np.isfinite(area) else None,
            )
        )
    return found


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part) / float(whole) if whole else None
