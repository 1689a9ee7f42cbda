"""Pseudo-labels (Lee 2013): which test images get the label that a committee of networks predicts, and how often it is
right. Pure functions of predictions.

Three conditions, after what failed elsewhere:

1. Unanimity: all networks of the committee predict the same class.
2. A probability gate: their mean probability of that class is `PROBABILITY` or more.
3. Class quotas: a class gives no more of the labels than its share of all predictions, its most probable images first.
   Easy classes would otherwise crowd out the hard ones, and training would distort the shares further.

The precision of the gate is estimated on labelled images that the committee has not seen (`judge_gate`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-6
"""By which the quota of a class may be above a whole number."""
NO_LABEL = -1
"""Label of an image that gets none."""
PROBABILITY = 0.9
"""Least mean probability of the predicted class."""
MOST = 1.0
"""Most pseudo-labelled images, as a multiple of the labelled ones: they never outnumber the true labels."""

Networks = NDArray[np.float32] | NDArray[np.float64]
"""Probabilities of each network of a committee for each image, (S, m, C)."""
Labels = NDArray[np.int64]
"""Class of each image or `NO_LABEL`: int64, (m,)."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How many accepted labels are right, on images whose labels are known."""

    images: int
    """Images that the gate looked at."""
    accepted: int
    right: int

    @property
    def share(self) -> float:
        """Share of right labels among the accepted ones; NaN if none was accepted."""
        return self.right / self.accepted if self.accepted else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of `share` (Clopper and Pearson 1934); 0 .. 1 if none was accepted."""
        from scipy.stats import beta

        wrong = self.accepted - self.right
        low = float(beta.ppf(0.025, self.right, wrong + 1)) if self.right else 0.0
        high = float(beta.ppf(0.975, self.right + 1, wrong)) if wrong else 1.0
        return low, high

    def __str__(self) -> str:
        """Such as ``97.1% (94.0 to 98.8%) of 240 accepted labels``."""
        if not self.accepted:
            return "unknown, no label was accepted"
        low, high = self.interval
        return f"{self.share:.1%} ({100 * low:.1f} to {high:.1%}) of {self.accepted} accepted labels"


def pseudo_labels(networks: Networks, *, probability: float = PROBABILITY, most: float = MOST) -> Labels:
    """The labels that a committee gives, int64 ``(m,)``; `NO_LABEL` where it gives none.

    Args:
        networks: one network at least.
        probability: of the gate, see `PROBABILITY`.
        most: largest number of labels. The quota of each class is rounded up, so that a rare class may have one.
    """
    mean = networks.mean(axis=0, dtype=np.float64)
    votes = networks.argmax(axis=2).astype(np.int64)
    labels = votes[0]
    confidence = mean[np.arange(len(mean)), labels]
    passed = (votes == labels).all(axis=0) & (confidence >= probability)
    total = min(float(passed.sum()), np.ceil(most))
    shares = mean.mean(axis=0) if len(mean) else np.zeros(0)
    quotas = np.ceil(shares * total - ROUNDING).astype(np.int64)
    accepted = np.full(len(mean), NO_LABEL, np.int64)
    for label, quota in enumerate(quotas):
        rows = np.flatnonzero(passed & (labels == label))
        accepted[rows[np.argsort(-confidence[rows], kind="stable")[:quota]]] = label
    return accepted


def most_labels(labelled: int, images: int, test_images: int) -> float:
    """Largest number of labels for ``images``, by which `MOST` for all test images is scaled to these.

    The same gate then judges held-out images, of which there are fewer, as strictly as the test images.
    """
    return MOST * labelled * images / test_images


def judge_gate(
    committees: Iterable[tuple[Networks, Labels]],
    *,
    labelled: int,
    test_images: int,
    probability: float = PROBABILITY,
) -> Precision:
    """Precision of the gate on labelled images that their committees have not seen.

    Args:
        committees: by fold, the probabilities of its held-out images by the networks that did not train on them, and
            the true classes.
        labelled: number of all labelled images.
        test_images: number of test images.
        probability: as for `pseudo_labels`.
    """
    images = accepted = right = 0
    for networks, y in committees:
        most = most_labels(labelled, len(y), test_images)
        found = pseudo_labels(networks, probability=probability, most=most)
        images += len(y)
        accepted += int((found != NO_LABEL).sum())
        right += int((found == y).sum())
    return Precision(images=images, accepted=accepted, right=right)
