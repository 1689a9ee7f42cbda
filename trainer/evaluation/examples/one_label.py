"""Images with one label each: large losses, confident mistakes, confusions, doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.class_scores import class_scores, confusions
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix
from trainer.evaluation.examples.choice import Choice, by_falling, weakest_first
from trainer.evaluation.examples.example import Example, Reason
from trainer.evaluation.metrics import Probabilities

LOSSES, MISTAKES, SUSPECTS = 10, 10, 8
"""Images of each of these reasons."""
PAIRS, OF_PAIR = 6, 2
"""Pairs of classes, and images of each."""
_LEAST = 1e-12  # probabilities below count as this in losses


def choose_examples(
    y: NDArray[np.int64], proba: Probabilities, most: int, suspects: Sequence[int] = ()
) -> list[Example]:
    """Choose training images, each once.

    Args:
        y: labels, int64, shape (n,), 0 .. C - 1.
        proba: probabilities by models that were not trained on the image, shape (n, C). A row with NaN is not chosen.
        most: largest number of images.
        suspects: rows of the images whose labels may be wrong, the clearest first.

    Returns:
        By reason, and the clearest cases of each reason first.
    """
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1))
    if not len(judged):
        return []
    labels, p = y[judged], proba[judged].astype(np.float64)
    predicted = p.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    loss: Float64Array = -np.log(np.maximum(p[np.arange(len(p)), labels], _LEAST))
    counts = confusion_matrix(labels, predicted, p.shape[1])
    by_loss = by_falling(loss, range(len(p)))
    by_confidence = by_falling(p.max(axis=1), wrong)
    pairs = [
        [i for i in by_confidence if (labels[i], predicted[i]) == (pair.true, pair.predicted)]
        for pair in confusions(counts)[:PAIRS]
    ]
    place = {row: i for i, row in enumerate(judged.tolist())}
    doubtful = [place[row] for row in suspects if row in place]
    choice = Choice(most)
    choice.add(Reason.LOSS, by_loss, LOSSES)
    choice.add(Reason.MISTAKE, by_confidence, MISTAKES)
    for rows in pairs:
        choice.add(Reason.PAIR, rows, OF_PAIR)
    choice.add(Reason.SUSPECT, doubtful, SUSPECTS)
    of_class: dict[int, list[int]] = {}
    for row in by_falling(loss, wrong):  # an error is one of the true and of the predicted class
        for label in (int(labels[row]), int(predicted[row])):
            of_class.setdefault(label, []).append(row)
    choice.add_errors_of_weak_classes(of_class, weakest_first([score.f1 for score in class_scores(counts)]))
    also = {
        Reason.LOSS: set(by_loss[:LOSSES]),
        Reason.MISTAKE: set(by_confidence[:MISTAKES]),
        Reason.PAIR: {row for rows in pairs for row in rows[:OF_PAIR]},
        Reason.SUSPECT: set(doubtful),
    }
    return [
        Example(
            row=int(judged[row]),
            reasons=(reason, *(other for other, rows in also.items() if other is not reason and row in rows)),
        )
        for row, reason in choice.chosen.items()
    ]
