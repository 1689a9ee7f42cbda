"""From the probabilities of several models to one prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 2.0**-23  # before a logarithm is taken: as far as float32 tells a probability from zero


@dataclass(frozen=True, kw_only=True)
class Blend:
    """From the probabilities of M members for C classes to one prediction."""

    weights: tuple[float, ...]
    """What each member counts in the mean of the probabilities: M numbers, not negative, sum 1."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """Of a multinomial logistic regression on the members' log probabilities, instead of the mean: C rows of M x C,
    member after member. Empty: the mean."""
    intercepts: tuple[float, ...] = ()
    """Of the same: C numbers."""
    temperature: float = 1.0
    """Every probability to the power 1 / temperature, normalised again."""
    offsets: tuple[float, ...] = ()
    """Added to the log probabilities before the largest decides: C numbers. Empty: none."""
    cuts: tuple[float, ...] = ()
    """Of classes in order: the label is the number of cuts that the expected label lies above. C - 1 ascending numbers.
    Empty: the largest probability decides."""

    def probabilities(self, members: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Blend the probabilities of the members, (M, n, C): (n, C), rows sum to 1."""
        if self.coefficients:
            logs = np.concatenate([_logs(member) for member in members], axis=1)
            blended = _softmax(logs @ np.array(self.coefficients).T + np.array(self.intercepts))
        else:
            blended = np.zeros(members.shape[1:])
            for weight, member in zip(self.weights, members, strict=True):
                if weight:
                    blended += weight * member.astype(np.float64)
        return blended if self.temperature == 1.0 else _softmax(_logs(blended) / self.temperature)

    def labels(self, proba: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The class of each row of `probabilities`, (n, C): int64 (n,)."""
        if self.cuts:
            rows = proba.astype(np.float64)
            expected = rows @ np.arange(rows.shape[1]) / rows.sum(axis=1)
            best = np.searchsorted(np.array(self.cuts), expected, side="left")
        elif self.offsets:
            best = (_logs(proba) + np.array(self.offsets)).argmax(axis=1)
        else:
            best = proba.argmax(axis=1)
        return np.asarray(best, dtype=np.int64)


def _logs(proba: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows = proba.astype(np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.asarray(np.log(np.clip(rows, SMALLEST_PROBABILITY, 1.0)))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
