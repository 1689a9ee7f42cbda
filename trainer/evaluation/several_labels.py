"""Labels of images that may have several of them, or none: a matrix in place of one class per image.

The labels ``y`` of n images are int64, of one of two shapes:

- ``(n,)``: the class of each image, 0 .. C - 1;
- ``(n, C)``: 1 where an image has a label, else 0. The predicted probabilities ``(n, C)`` of such images are
  independent of each other, so their rows sum to any number from 0 to C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
NONE = "(none)"
"""Shown for an image without labels."""


def has_several(y: NDArray[np.integer[Any]]) -> bool:
    """Whether ``y`` is a matrix: an image may have several labels, or none."""
    return y.ndim == 2


def class_counts(y: Labels, classes: int) -> Labels:
    """Images with each label: int64 (C,)."""
    return y.sum(axis=0) if has_several(y) else np.bincount(y, minlength=classes).astype(np.int64)


def rarest_label(y: Labels, classes: int) -> Labels:
    """One class for each image: int64 (n,). Of several labels the one that the fewest images have; C without any.

    Samples of the images are drawn by it, so that they hold the rare labels.
    """
    if not has_several(y):
        return y
    counts = class_counts(y, classes)
    order = np.argsort(counts, kind="stable")
    best = y[:, order].argmax(axis=1)
    return np.where(y.any(axis=1), order[best], classes).astype(np.int64)


def same_labels(y: Labels, i: int, j: int) -> bool:
    """Whether two images have the same labels."""
    return bool(np.array_equal(y[i], y[j]))


def label_numbers(label: Any) -> list[int]:
    """The classes of one image, ascending: one for its class number, any number for a row of 0 and 1."""
    row = np.asarray(label)
    return [int(c) for c in np.flatnonzero(row)] if row.ndim else [int(row)]


def label_names(label: Any, class_names: Sequence[str]) -> list[str]:
    """The labels of one image, as `label_numbers`, by their names."""
    return [class_names[c] for c in label_numbers(label)]


def label_text(label: Any, class_names: Sequence[str]) -> str:
    """The labels of one image as a text for people: ``scab`` or ``scab + rust``; `NONE` without any.

    Args:
        label: a row of the labels ``y``: a class number, or 0 and 1 for each of C classes.
    """
    return " + ".join(label_names(label, class_names)) or NONE


def as_pairs(proba: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Each probability p of a label as the row (1 - p, p) of a choice between two classes: float64 (n C, 2).

    So the formulas for one class per image hold for each label by itself.
    """
    flat = np.asarray(proba, dtype=np.float64).reshape(-1)
    return np.stack([1.0 - flat, flat], axis=1)
