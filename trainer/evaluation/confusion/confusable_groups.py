"""Groups of classes that are confused with each other, by spectral clustering of the confusion matrix. Pure functions.

The affinity of two classes is the number of images that are confused between them, in either direction. The Fiedler
vector of a set of classes, the second eigenvector of its normalised Laplacian, orders them so that confused classes are
near each other, and the order is cut in two where the normalised cut is least (Shi and Malik 2000, "Normalized Cuts and
Image Segmentation"). Both parts are cut in the same way, so that all classes become a binary tree.

The groups are nodes of this tree. A group is worth the mistakes between its classes, and each pair of its classes costs
a share of all mistakes. The chosen nodes have the greatest total worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.confusion.confusion_matrix import confusion_matrix

LARGEST = 4
"""Most classes of a group: a second stage of many classes has the same task as the first."""
SHARE = 0.04
"""Share of all mistakes that a pair of classes has to exceed. Larger groups exceed it on average over their pairs."""
FEWEST = 4.0
"""Number of mistakes that a pair has to exceed as well, so that chance makes no group where mistakes are few."""
UNIFORM = 0.1
"""Affinity, as a share of the mean degree, that is spread over all pairs before the Fiedler vector is computed. Without
it the second eigenvalue of a star is not simple, whatever its affinities. Such regularisation steadies the spectral
clustering of sparse graphs (Joseph and Yu 2016, "Impact of regularization on spectral clustering")."""

Groups = tuple[tuple[int, ...], ...]
"""Classes by group. The classes of a group ascend, and so do the first classes of the groups; no class occurs twice."""


def confusable_groups(counts: NDArray[np.int64], *, largest: int = LARGEST, share: float = SHARE) -> Groups:
    """The groups of classes that hold a real share of the mistakes; empty if there are none.

    The groups together never hold all classes: the least of them is left out. Other numbers for the classes give the
    same groups, unless the confusion has symmetries by which two cuts are equally good.

    Args:
        counts: images by true and predicted class, int64 ``(C, C)``.
        largest: most classes of a group, 2 or more.
        share: as `SHARE`, 0 or more.
    """
    between = mistakes_between(counts)
    cost = max(share * mistakes(counts), FEWEST)
    involved = [int(label) for label in np.flatnonzero(between.any(axis=1))]
    found = _best(involved, between.astype(np.float64), cost, min(largest, len(counts) - 1))
    groups = tuple(sorted(tuple(sorted(group)) for group in found.groups))
    if len(classes_of(groups)) == len(counts):
        least = min(groups, key=lambda group: mistakes_within((group,), counts))
        groups = tuple(group for group in groups if group != least)
    return groups


def groups_of_predictions(y: NDArray[np.int64], proba: NDArray[np.floating[Any]]) -> Groups:
    """The groups of `confusable_groups` by the most probable class of each image.

    Args:
        y: true classes, int64 ``(n,)``.
        proba: held-out probabilities, ``(n, C)``.
    """
    return confusable_groups(confusion_matrix(y, proba.argmax(axis=1).astype(np.int64), proba.shape[1]))


def mistakes(counts: NDArray[np.int64]) -> int:
    """Images that are not of the class that was predicted."""
    return int(counts.sum() - counts.trace())


def mistakes_between(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Images that are confused between two classes, in either direction: int64 ``(C, C)``, symmetric, diagonal 0."""
    wrong = counts - np.diag(counts.diagonal())
    return np.asarray(wrong + wrong.T, np.int64)


def mistakes_within(groups: Groups, counts: NDArray[np.int64]) -> int:
    """Images whose true and predicted class differ and lie in the same group."""
    between = mistakes_between(counts)
    return sum(int(between[np.ix_(group, group)].sum()) // 2 for group in groups)


def classes_of(groups: Groups) -> tuple[int, ...]:
    """All classes of the groups, ascending."""
    return tuple(sorted(label for group in groups for label in group))


def among(groups: Groups, classes: Iterable[int]) -> Groups:
    """The groups without other classes than ``classes``; groups that keep fewer than two are left out."""
    kept = set(classes)
    parts = (tuple(label for label in group if label in kept) for group in groups)
    return tuple(sorted(part for part in parts if len(part) > 1))


@dataclass(frozen=True)
class _Choice:
    """Groups, and their worth."""

    groups: tuple[tuple[int, ...], ...]
    worth: float


def _best(classes: Sequence[int], between: NDArray[np.float64], cost: float, largest: int) -> _Choice:
    """The groups of the greatest worth in the tree of ``classes``."""
    if len(classes) < 2:
        return _Choice((), 0.0)
    left, right = (_best(part, between, cost, largest) for part in _cut(classes, between))
    parts = _Choice(left.groups + right.groups, left.worth + right.worth)
    if len(classes) > largest:
        return parts
    pairs = len(classes) * (len(classes) - 1) // 2
    worth = float(between[np.ix_(classes, classes)].sum()) / 2.0 - cost * pairs
    return _Choice((tuple(classes),), worth) if worth > parts.worth else parts


def _cut(classes: Sequence[int], between: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Both parts of a set of classes, each one at least: a component and the others, if there are several, or those of
    the least normalised cut of the spectral order.
    """
    from scipy.sparse.csgraph import connected_components

    affinity = between[np.ix_(classes, classes)]
    count, component = connected_components(affinity, directed=False)
    if count > 1:
        inside = component == component[0]
    else:
        order = spectral_order(affinity)
        inside = np.zeros(len(classes), bool)
        inside[order[: _least_cut(affinity[np.ix_(order, order)])]] = True
    labels = np.array(classes)
    return labels[inside].tolist(), labels[~inside].tolist()


def spectral_order(affinity: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nodes of a graph in the order of its Fiedler vector: int64 ``(k,)``.

    Args:
        affinity: ``(k, k)``, k >= 2, symmetric, 0 or more, not all 0; diagonal 0.
    """
    k = len(affinity)
    regular = affinity + UNIFORM * float(affinity.sum()) / k / (k - 1) * (1.0 - np.eye(k))
    root = 1.0 / np.sqrt(regular.sum(axis=1))
    _, vectors = np.linalg.eigh(np.eye(k) - root[:, None] * regular * root)
    return np.argsort(root * vectors[:, 1], kind="stable").astype(np.int64)


def _least_cut(affinity: NDArray[np.float64]) -> int:
    """Number of nodes before the least normalised cut of ordered nodes; of equal cuts the most even one."""
    degrees, k = affinity.sum(axis=1), len(affinity)

    def cut(size: int) -> tuple[float, int]:
        before, after = float(degrees[:size].sum()), float(degrees[size:].sum())
        crossing = float(affinity[:size, size:].sum())
        return crossing / before + crossing / after, abs(2 * size - k)

    return min(range(1, k), key=cut)
