"""An order of the classes in which those that are confused with each other are neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusable_order(counts: NDArray[np.int64]) -> list[int]:
    """The classes ordered by confusion.

    Two classes are as near as the share of their images that is confused between them. Average linkage joins near
    classes, and the leaves of its tree are ordered so that the sum of the distances between neighbours is smallest
    (Bar-Joseph, Gifford and Jaakkola 2001, "Fast optimal leaf ordering for hierarchical clustering").

    Args:
        counts: images by true and predicted class, int64 ``(C, C)``.

    Returns:
        All class indices, each once. Without any confusion they keep their order.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    classes = len(counts)
    off_diagonal = counts - np.diag(counts.diagonal())
    if classes < 3 or not off_diagonal.any():
        return list(range(classes))
    shares = off_diagonal / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    distances = 1.0 - (shares + shares.T) / 2.0
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), method="average", optimal_ordering=True)
    order = [int(label) for label in leaves_list(tree)]
    return order if order[0] <= order[-1] else order[::-1]


def most_confused(counts: NDArray[np.int64], most: int) -> list[int]:
    """The classes of the most frequent confusions, in the order of `confusable_order`.

    Args:
        counts: as in `confusable_order`.
        most: largest number of classes.
    """
    pairs = counts - np.diag(counts.diagonal())
    both = np.triu(pairs + pairs.T)
    chosen: list[int] = []
    for place in np.argsort(-both, axis=None, kind="stable"):
        pair = divmod(int(place), len(counts))
        added = [label for label in pair if label not in chosen]
        if not both[pair] or len(chosen) + len(added) > most:
            break
        chosen += added
    ordered = sorted(chosen)
    return [ordered[i] for i in confusable_order(counts[np.ix_(ordered, ordered)])]
