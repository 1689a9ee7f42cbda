"""From what is kept to what is chosen. Pure functions of stored values: no database, no torch.

This is the one place where a winner is picked. Today it is the finished trial with the best out-of-fold metric, ties
broken by the mean probability of the true class (which ranks recipes more steadily than accuracy does) and then by age.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class NothingFinished(ValueError):  # noqa: N818 - named for the fact
    """There is no finished trial to choose from."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finished trial: its out-of-fold metric at the last epoch, that metric's standard error, its mean true-class
    probability.
    """

    number: int
    value: float
    standard_error: float
    soft: float


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first."""
    return sorted(candidates, key=lambda c: (-c.value, -c.soft, c.number))


def choose(candidates: Iterable[Candidate]) -> Candidate:
    """The trial to export.

    Raises:
        NothingFinished: there is none.
    """
    ranking = rank(candidates)
    if not ranking:
        raise NothingFinished("no trial has finished yet, so there is nothing to export")
    return ranking[0]


def average(probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of several predictions of the same images, each ``(n, classes)``, accumulated in float64."""
    mean: NDArray[np.float64] = np.mean(np.stack(probabilities), axis=0, dtype=np.float64)
    return mean.astype(np.float32)
