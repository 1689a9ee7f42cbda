"""Blend the class probabilities of several models into one prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 2.0**-23  # lower limit before a logarithm: the machine epsilon of float32


@dataclass(frozen=True, kw_only=True)
class Blend:
    """How the probabilities of M members for C classes become one prediction.

    The members are combined by a weighted mean, or by stacking (a logistic regression on their log probabilities). A
    temperature then calibrates the result. The predicted class is the most probable one, unless there are ``offsets``
    or ``cuts``.

    Where images have several labels, probabilities are independent of each other: each is blended, calibrated and
    decided by itself, on its log odds.

    With a ``second_stage``, the last member tells the classes of some groups apart. The other members are the first
    stage. They give each group its probability, and the last member shares it among the classes of the group.
    """

    weights: tuple[float, ...]
    """Weight of each member in the mean of the probabilities: M numbers, not negative, sum 1. That of a second stage is
    0."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """Coefficients of a multinomial logistic regression on the members' log probabilities: C rows of M x C numbers,
    member after member. If empty, the weighted mean is used. Of several labels: C logistic regressions on log odds."""
    intercepts: tuple[float, ...] = ()
    """Intercepts of the logistic regression: C numbers, or empty."""
    temperature: float = 1.0
    """Each probability is raised to the power 1 / temperature, then the C probabilities are normalised."""
    offsets: tuple[float, ...] = ()
    """Numbers added to the log probabilities before the largest one decides: C numbers, or empty. Of several labels
    they are added to the log odds, and those above 0 decide."""
    cuts: tuple[float, ...] = ()
    """Thresholds for ordered classes: C - 1 ascending numbers, or empty. The label is the number of thresholds below
    the expected label."""
    several_labels: bool = False
    """Whether an image may have several labels, or none."""
    at_least_one: bool = False
    """Whether an image has its most probable label even if no log odds are above 0."""
    second_stage: tuple[tuple[int, ...], ...] = ()
    """Groups of classes that the last member tells apart: at least two classes a group, none twice. Empty: there is no
    second stage. It goes with a weighted mean of one label an image alone."""

    def probabilities(self, members: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Blend the members' probabilities, (M, n, C), for n images: float64 (n, C).

        Rows sum to 1, unless images may have several labels.
        """
        if self.coefficients and self.several_labels:
            odds = np.concatenate([log_odds(member) for member in members], axis=1)
            blended = _sigmoid(odds @ np.array(self.coefficients).T + np.array(self.intercepts))
        elif self.coefficients:
            logs = np.concatenate([_logs(member) for member in members], axis=1)
            blended = _softmax(logs @ np.array(self.coefficients).T + np.array(self.intercepts))
        else:
            blended = np.zeros(members.shape[1:])
            for weight, member in zip(self.weights, members, strict=True):
                if weight:
                    blended += weight * member.astype(np.float64)
            if self.second_stage:
                blended = shared_within(blended, members[-1], self.second_stage)
        if self.several_labels:
            return blended if self.temperature == 1.0 else _sigmoid(log_odds(blended) / self.temperature)
        return blended if self.temperature == 1.0 else _softmax(_logs(blended) / self.temperature)

    def labels(self, proba: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The predicted class of each row of blended probabilities, (n, C): int64 (n,).

        Of several labels: 1 for those that an image is predicted to have, else 0, int64 (n, C).
        """
        if self.several_labels:
            odds = log_odds(proba) + (np.array(self.offsets) if self.offsets else 0.0)
            return labels_above(odds, at_least_one=self.at_least_one)
        if self.cuts:
            rows = proba.astype(np.float64)
            expected = rows @ np.arange(rows.shape[1]) / rows.sum(axis=1)
            best = np.searchsorted(np.array(self.cuts), expected, side="left")
        elif self.offsets:
            best = (_logs(proba) + np.array(self.offsets)).argmax(axis=1)
        else:
            best = proba.argmax(axis=1)
        return np.asarray(best, dtype=np.int64)


def shared_within(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], groups: tuple[tuple[int, ...], ...]
) -> NDArray[np.float64]:
    """The first stage's probability of each group, shared among its classes as the second stage says: float64 (n, C).

    The probabilities of classes in no group stay, and so does the sum of each group.

    Args:
        first: probabilities, (n, C).
        second: probabilities of the same images, (n, C). Within a group, each is `SMALLEST_PROBABILITY` at least.
        groups: of classes, none of which is in two groups.
    """
    shared = first.astype(np.float64)
    for group in groups:
        classes = list(group)
        shares = np.clip(second[:, classes].astype(np.float64), SMALLEST_PROBABILITY, 1.0)
        shares /= shares.sum(axis=1, keepdims=True)
        shared[:, classes] = shared[:, classes].sum(axis=1, keepdims=True) * shares
    return shared


def log_odds(proba: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Log odds of probabilities, limited by `SMALLEST_PROBABILITY` on both sides."""
    clipped = np.clip(proba.astype(np.float64), SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def labels_above(odds: NDArray[np.float64], *, at_least_one: bool) -> NDArray[np.int64]:
    """1 for the labels with log odds above 0, else 0: int64 (n, C).

    Args:
        at_least_one: give an image without such a label the one with the highest log odds.
    """
    labels = (odds > 0.0).astype(np.int64)
    if at_least_one:
        empty = np.flatnonzero(~labels.any(axis=1))
        labels[empty, odds[empty].argmax(axis=1)] = 1
    return labels


def _sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)))


def _logs(proba: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Log probabilities of normalised rows, limited by `SMALLEST_PROBABILITY`."""
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows, SMALLEST_PROBABILITY, 1.0)))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
