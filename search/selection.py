"""From what is kept to what is chosen. Pure functions of stored values: no database, no torch.

This is the one place where a winner is picked. A metric that counts right and wrong labels throws away how nearly an
image was right, and among the best of many its differences are mostly luck. So finished trials are ranked by the metric
and a soft score together (`worth`); both come from the same out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import METRICS

SOFT_WEIGHT = 3.0
"""What the soft score counts beside a metric of labels, which counts 1. On recorded tables of curves (`benchmarks/`)
any weight from 1 up chose better recipes than the metric alone did."""


class NothingFinished(ValueError):  # noqa: N818 - named for the fact
    """There is no finished trial to choose from."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finished trial by its out-of-fold predictions at the last epoch."""

    number: int
    value: float
    """The metric."""
    standard_error: float
    """Of the metric."""
    soft: float
    """See `soft_score`."""
    worth: float
    """By what it is ranked, see `worth`."""


def soft_score(soft: float, calibrated: float) -> float:
    """Mean probability of the true class, half as it is and half calibrated.

    As it is, it is that of the average of many such networks too, which is what will be exported: a network that is too
    sure of itself gains by averaging. Calibrated, it does not favour recipes without label smoothing and mixup. Which
    of both foretells the exported model better differs from one recorded table to another; their mean did well on all.
    """
    return (soft + calibrated) / 2.0


def worth(metric: str, value: float, soft: float) -> float:
    """By what finished trials are ranked, and what the sampler learns from: higher is better. It lies where ``value``
    and ``soft`` do.

    Args:
        metric: a name in `trainer.metrics.METRICS`. One that judges probabilities needs no help.
        value: the metric.
        soft: see `soft_score`, 0 to 1.
    """
    if METRICS[metric].needs == "probabilities":
        return value
    return (value + SOFT_WEIGHT * soft) / (1.0 + SOFT_WEIGHT)


def worth_name(metric: str) -> str:
    """What `worth` is called where Optuna shows it."""
    return metric if METRICS[metric].needs == "probabilities" else f"{metric} with true-class probability"


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first; of equal ones the better metric, then the elder."""
    return sorted(candidates, key=lambda c: (-c.worth, -c.value, c.number))


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
