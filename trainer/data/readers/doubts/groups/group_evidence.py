"""Whether values of a column, or beginnings of names, say which images belong together, by the labels of the images.

The images of one patient or video mostly have one label, while the labels of all patients differ. Chance seldom gives
such values: that is tested with the labels in random order.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SHARE = 0.9  # of the pairs of images with one value that have one label
_EXPLAINED = 0.5  # of the pairs that chance would give two labels
_ORDERS = 50  # random ones of the labels
_SIGMAS = 4.0
_SURE = 20_000  # images from which chance alone gives no such share
_WHOLE = re.compile(r"\d+")
_UNIT = r"%|\u00b0c?|[kmc\u00b5]?[glm]|px|s|ms|h|min|y|yrs?|years?|months?|days?"
_NUMBER = re.compile(
    rf"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[+-]?\d+)?(?: ?(?:{_UNIT}))?|\d+(?: ?[x\u00d7] ?\d+)+", re.IGNORECASE
)
"""Also with a unit, and sizes: ``3 kg``, ``40x20``."""


def labels_agree(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether images with one value mostly have one label, and far more often than in a random order of the labels.

    Empty values belong to no group.
    """
    pairs = [(value, label) for value, label in zip(values, labels, strict=True) if value]
    if len({label for _, label in pairs}) < 2:
        return False
    _, group = np.unique([value for value, _ in pairs], return_inverse=True)
    _, label = np.unique([label for _, label in pairs], return_inverse=True)
    sizes = np.bincount(group).astype(np.float64)
    together = float((sizes * (sizes - 1)).sum())
    if not together:
        return False
    agreeing = _agreeing(group, label) / together
    counts, total = np.bincount(label).astype(np.float64), float(len(label))
    mean = float((counts * (counts - 1)).sum()) / (total * (total - 1))
    if agreeing < _SHARE or agreeing - mean < _EXPLAINED * (1 - mean):
        return False
    if len(label) > _SURE:
        return True
    rng = np.random.default_rng(0)
    chance = [_agreeing(group, rng.permutation(label)) / together for _ in range(_ORDERS)]
    return agreeing - mean >= _SIGMAS * float(np.std(chance))


def _agreeing(group: NDArray[np.int64], label: NDArray[np.int64]) -> float:
    """The number of ordered pairs of two images with one value and one label."""
    _, counts = np.unique(group * (int(label.max()) + 1) + label, return_counts=True)
    both = counts.astype(np.float64)
    return float((both * (both - 1)).sum())


def follow_labels(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether all images of a label have one value: a number of the class, or a class above it."""
    pairs = {(value, label) for value, label in zip(values, labels, strict=True) if value}
    return len(pairs) == len({label for _, label in pairs})


def are_names(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether values are names or numbers of things: most hold digits, and they are no measurements.

    Whole numbers are measurements where the labels of their order hang together, as a score does with a grade.
    """
    filled = {value: Counter[str]() for value in values if value}
    if not filled or 5 * sum(any(map(str.isdigit, value)) for value in filled) < 4 * len(filled):
        return False
    if not all(map(_NUMBER.fullmatch, filled)):
        return True
    if not all(map(_WHOLE.fullmatch, filled)):
        return False
    for value, label in zip(values, labels, strict=True):
        if value:
            filled[value][label] += 1
    usual = [filled[value].most_common(1)[0][0] for value in sorted(filled, key=int)]
    counts = Counter(usual)
    by_chance = (len(usual) - 1) * (1 - sum((count / len(usual)) ** 2 for count in counts.values()))
    return 2 * sum(one != other for one, other in itertools.pairwise(usual)) > by_chance > 0
