"""Images with several labels: large losses, missed or wrongly predicted labels, close decisions, doubtful labels.

A label is predicted as the final model predicts it: by the thresholds of its blend, if it has some.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.class_scores import label_scores
from trainer.evaluation.examples.choice import Choice, by_falling, weakest_first
from trainer.evaluation.examples.example import Example, Reason
from trainer.evaluation.metrics import Probabilities
from trainer.inference.blend import Blend, log_odds

NUMBERS = {Reason.LOSS: 10, Reason.MISSED: 10, Reason.WRONG: 10, Reason.UNSURE: 8, Reason.SUSPECT: 8}
"""Images of each of these reasons."""
NEAR = 0.5
"""Largest distance of the log odds of a label from its threshold, for a close decision; around the threshold 0.5 these
are the probabilities 0.38 to 0.62."""
_LEAST = 1e-12  # probabilities below count as this in losses


def choose_label_examples(
    y: NDArray[np.int64],
    proba: Probabilities,
    blend: Blend,
    most: int,
    suspects: Mapping[int, NDArray[np.int64]] = MappingProxyType({}),
) -> list[Example]:
    """Choose training images with several labels, each once.

    Args:
        y: labels, 0 and 1, int64, shape (n, C).
        proba: probabilities by models that were not trained on the image, shape (n, C). A row with NaN is not chosen.
        blend: decides which labels are predicted; of several labels.
        most: largest number of images.
        suspects: the images whose labels may be wrong, the clearest first: row and proposed labels, int64 (C,).

    Returns:
        By reason, and the clearest cases of each reason first. Each names the label that its first reason is about: of
        a large loss the label that adds most to it.
    """
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1))
    if not len(judged):
        return []
    has, p = y[judged] == 1, proba[judged].astype(np.float64)
    labels = blend.labels(p)
    predicted = labels == 1
    missed, wrong = has & ~predicted, predicted & ~has
    loss: Float64Array = -np.log(np.maximum(np.where(has, p, 1.0 - p), _LEAST))
    distance = np.abs(log_odds(p) + (np.array(blend.offsets) if blend.offsets else 0.0))
    place = {row: i for i, row in enumerate(judged.tolist())}
    doubtful = {place[row]: proposed for row, proposed in suspects.items() if row in place}
    contradicted = np.zeros(has.shape, bool)
    for row, proposed in doubtful.items():
        contradicted[row] = has[row] != (proposed == 1)
    weakest = weakest_first([own.score.f1 for own in label_scores(y[judged], p, labels)])
    # Of each reason, the images from the clearest to the least clear one, and the label that it is about in each image.
    rows = {
        Reason.LOSS: by_falling(loss.mean(axis=1), range(len(p))),
        Reason.MISSED: by_falling(_largest(loss, missed), np.flatnonzero(missed.any(axis=1))),
        Reason.WRONG: by_falling(_largest(loss, wrong), np.flatnonzero(wrong.any(axis=1))),
        Reason.UNSURE: by_falling(-distance.min(axis=1), np.flatnonzero((distance <= NEAR).any(axis=1))),
        Reason.SUSPECT: list(doubtful),
    }
    about = {
        Reason.LOSS: loss.argmax(axis=1),
        Reason.MISSED: np.where(missed, loss, -1.0).argmax(axis=1),
        Reason.WRONG: np.where(wrong, loss, -1.0).argmax(axis=1),
        Reason.UNSURE: distance.argmin(axis=1),
        Reason.SUSPECT: np.where(contradicted, loss, -1.0).argmax(axis=1),
        Reason.WEAK_CLASS: np.array(weakest)[(missed | wrong)[:, weakest].argmax(axis=1)],
    }
    choice = Choice(most)
    for reason, number in NUMBERS.items():
        choice.add(reason, rows[reason], number)
    of_label = {
        label: by_falling(loss[:, label], np.flatnonzero(missed[:, label] | wrong[:, label])) for label in weakest
    }
    choice.add_errors_of_weak_classes(of_label, weakest)
    also = {reason: set(rows[reason][:number]) for reason, number in NUMBERS.items()}
    return [
        Example(
            row=int(judged[row]),
            reasons=(reason, *(other for other, own in also.items() if other is not reason and row in own)),
            label=int(about[reason][row]),
        )
        for row, reason in choice.chosen.items()
    ]


def _largest(loss: Float64Array, errors: NDArray[np.bool_]) -> Float64Array:
    """The largest loss among the erroneous labels of each image, -1 without any: float64 (n,)."""
    return np.asarray(np.where(errors, loss, -1.0).max(axis=1), dtype=np.float64)
