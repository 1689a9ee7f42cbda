"""Training images that show where predictions err: large losses, confident mistakes, confusions, doubtful labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.evaluation.class_scores import class_scores, confusions
from trainer.evaluation.confusion.confusion_matrix import confusion_matrix
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.evaluation.metrics import Probabilities

LOSSES, MISTAKES, SUSPECTS = 10, 10, 8
"""Images of each of these reasons."""
PAIRS, OF_PAIR = 6, 2
"""Pairs of classes, and images of each."""
OF_CLASS = 3
"""Errors of a class that the last reason adds images up to."""
_LEAST = 1e-12  # probabilities below count as this in losses


class Reason(StrEnum):
    """Why an image is shown, in the order in which images are chosen."""

    LOSS = "loss"
    """Its loss, minus the logarithm of the label's probability, is among the largest."""
    MISTAKE = "mistake"
    """Another class than its label has nearly all the probability."""
    PAIR = "pair"
    """It belongs to one of the most frequent confusions."""
    SUSPECT = "suspect"
    """Its label may be wrong (`trainer.evaluation.label_errors`)."""
    WEAK_CLASS = "class"
    """It is an error of a class with a low F1, of which few are shown otherwise."""
    FAR = "far"
    """A test image unlike the training images (`trainer.shift.distance`)."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image and why it was chosen."""

    row: int
    reasons: tuple[Reason, ...]
    """The first is the one that it was chosen for."""


def choose_examples(y: NDArray[np.int64], proba: Probabilities, most: int) -> list[Example]:
    """Choose training images, each once.

    Args:
        y: labels, int64, shape (n,), 0 .. C - 1.
        proba: probabilities by models that were not trained on the image, shape (n, C). A row with NaN is not chosen.
        most: largest number of images.

    Returns:
        By reason, and the clearest cases of each reason first. No label is suspicious if too many are
        (`trainer.evaluation.label_errors.LabelErrors.too_many`).
    """
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1))
    if not len(judged):
        return []
    labels, p = y[judged], proba[judged].astype(np.float64)
    predicted = p.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    loss: Float64Array = -np.log(np.maximum(p[np.arange(len(p)), labels], _LEAST))
    counts = confusion_matrix(labels, predicted, p.shape[1])
    by_loss = _by(loss, range(len(p)))
    by_confidence = _by(p.max(axis=1), wrong)
    pairs = [
        [i for i in by_confidence if (labels[i], predicted[i]) == (pair.true, pair.predicted)]
        for pair in confusions(counts)[:PAIRS]
    ]
    errors = find_label_errors(labels, p)
    suspects = [] if errors.too_many else errors.rows.tolist()
    chosen: dict[int, Reason] = {}

    def add(reason: Reason, rows: Iterable[int], number: int) -> None:
        fresh = [row for row in rows if row not in chosen]
        chosen.update((row, reason) for row in fresh[: min(number, most - len(chosen))])

    add(Reason.LOSS, by_loss, LOSSES)
    add(Reason.MISTAKE, by_confidence, MISTAKES)
    for rows in pairs:
        add(Reason.PAIR, rows, OF_PAIR)
    add(Reason.SUSPECT, suspects, SUSPECTS)
    for row in _errors_of_weak_classes(labels, predicted, counts, _by(loss, wrong), chosen):
        add(Reason.WEAK_CLASS, [row], 1)
    also = {
        Reason.LOSS: set(by_loss[:LOSSES]),
        Reason.MISTAKE: set(by_confidence[:MISTAKES]),
        Reason.PAIR: {row for rows in pairs for row in rows[:OF_PAIR]},
        Reason.SUSPECT: set(suspects),
    }
    return [
        Example(
            row=int(judged[row]),
            reasons=(reason, *(other for other, rows in also.items() if other is not reason and row in rows)),
        )
        for row, reason in chosen.items()
    ]


def _by(values: Float64Array, rows: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """``rows`` by falling value, then rising."""
    return sorted((int(row) for row in rows), key=lambda row: (-values[row], row))


def _errors_of_weak_classes(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    counts: NDArray[np.int64],
    errors: Sequence[int],
    chosen: dict[int, Reason],
) -> Iterator[int]:
    """Errors of the class with the lowest F1, one for each class in turn, until each has `OF_CLASS`.

    Args:
        errors: wrongly predicted images, the largest loss first. They count for the true and the predicted class.
        chosen: images that are shown already. It grows while this runs.
    """
    own: dict[int, list[int]] = {}
    for row in errors:
        for label in (int(labels[row]), int(predicted[row])):
            own.setdefault(label, []).append(row)
    scores = sorted(class_scores(counts), key=lambda score: (1.0 if score.f1 is None else score.f1, score.label))
    for wanted in range(1, OF_CLASS + 1):
        for score in scores:
            rows = own.get(score.label, [])
            if sum(row in chosen for row in rows) < wanted:
                yield from islice((row for row in rows if row not in chosen), 1)
