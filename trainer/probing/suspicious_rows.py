"""Suspicious labels inside of each training part: judged without the rows that the fold holds out.

A linear probe is cross-validated inside of the training part of every fold, and confident learning
(`trainer.evaluation.label_errors`) compares its probabilities with the labels of this part alone. So the labels that
a fold holds out, and scores, never decide what it trains on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.common.arrays import Float32Array
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.probing.judge_labels import is_informative

LEAST_KEPT = 5
"""Rows of a class in a training part that are never suspicious. The probe knows such a class least."""
LARGEST_SHARE = 0.5
"""Of the rows of a class in a training part, the largest share that is suspicious. Confident learning presupposes that
most labels of a class are right."""


def suspicious_rows(
    features: Float32Array, y: NDArray[np.int64], folds: NDArray[np.int64], *, num_classes: int, device: str = "cpu"
) -> tuple[NDArray[np.int64], ...]:
    """Find the suspicious rows of each training part.

    None are, where a probe predicts the labels of the part no better than the frequencies of the classes.

    Args:
        features: float32, shape (n, d), finite.
        y: class of each row: int64, shape (n,), 0 .. num_classes - 1.
        folds: fold that holds out each row: int64, shape (n,), 0 .. K - 1, or -1: always in the training part.
        device: where the fits compute.

    Returns:
        For each of K folds (one if no row is held out) rows of its training part, ascending: int64.
    """
    from trainer.probing.linear_head import fit_heads, inner_probabilities

    def equal(_: NDArray[np.int64]) -> Float32Array:
        return np.ones(num_classes, np.float32)

    heads = fit_heads(features, y, folds, class_weights=equal, device=device)
    inner = inner_probabilities(features, y, folds, heads, class_weights=equal, device=device)
    return tuple(_suspicious(y, proba, folds != fold) for fold, proba in enumerate(inner))


def _suspicious(y: NDArray[np.int64], proba: Float32Array, in_part: NDArray[np.bool_]) -> NDArray[np.int64]:
    judged = np.flatnonzero(np.isfinite(proba[:, 0]))
    if not is_informative(y[judged], proba[judged]):
        return np.empty(0, np.int64)
    counts = np.bincount(y[in_part], minlength=proba.shape[1])
    left = np.minimum((LARGEST_SHARE * counts).astype(np.int64), np.maximum(counts - LEAST_KEPT, 0))
    chosen: list[int] = []
    for row in find_label_errors(y, proba).rows.tolist():  # the least probable label first
        if left[y[row]] > 0:
            left[y[row]] -= 1
            chosen.append(row)
    return np.array(sorted(chosen), np.int64)
