"""Ranking of finished trials, and the choice of the best. Pure functions of stored values: no database, no torch.

This is the only place that ranks trials. The exported model averages several networks. The gain from averaging differs
between recipes and can be estimated without labels (`trainer.evaluation.ambiguity`), so trials are ranked by the
expected score of the average of their fold models.

A metric of labels ignores by how much an image was right or wrong. Among the best of many trials its differences are
mostly noise. The ranking therefore uses the mean of the metric and the Brier score (`objective`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.runtime.errors import SearchError
from trainer.evaluation.metrics import METRICS

ERRORS_FALL = 1.15
"""Relative decrease of the metric's errors through averaging, divided by that of the Brier score, of trained networks;
measured on recorded tables (`benchmarks/`)."""
ERRORS_FALL_OF_PROBES = 0.7
"""The same of linear probes, whose fold models seldom differ in the class that they predict; measured on draws of three
data sets (`benchmarks/probes/averaged_probes.py`)."""


class NothingFinished(SearchError):
    """No trial has finished, so none can be chosen."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finished trial, scored by its out-of-fold predictions at the last epoch."""

    number: int
    value: float
    """Metric of one network per image."""
    standard_error: float
    """Standard error of ``value``."""
    averaged: float
    """Expected metric of the average of the fold models; ``value`` for a metric of probabilities."""
    brier: float
    """Expected Brier score of that average."""
    objective: float
    """The value by which trials are ranked, see `objective`."""


def averaging_gain(metric: str, value: float, brier: float, ambiguity: float, *, is_probe: bool = False) -> float:
    """Expected gain in the metric from averaging the networks of a training, over one of them: 0 or more.

    Averaging decreases the distance to the best possible score by nearly the same share as the Brier score:

        (best - value) min(1, ERRORS_FALL ambiguity / (brier + ambiguity))

    On recorded tables the predicted and the actual gains of recipes correlate by 0.83 to 0.93 (`benchmarks/`).

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`. For a metric of probabilities the result is 0.
        value: metric of one network.
        brier: expected Brier score of the average, see `trainer.evaluation.ambiguity`.
        ambiguity: by how much ``brier`` is lower than the Brier score of one network.
        is_probe: whether the networks are linear probes, for which `ERRORS_FALL_OF_PROBES` counts.
    """
    if METRICS[metric].needs == "probabilities" or not ambiguity:
        return 0.0
    missing = METRICS[metric].bounds[1] - value
    errors_fall = ERRORS_FALL_OF_PROBES if is_probe else ERRORS_FALL
    return missing * min(1.0, errors_fall * ambiguity / (brier + ambiguity))


def objective(metric: str, averaged: float, brier: float) -> float:
    """The value that finished trials are ranked by and that Optuna's sampler maximises.

    For a metric of labels it is ``(averaged + 1 - brier) / 2``. If probabilities are calibrated, 1 - brier is the
    expected probability of the true class. For a metric of probabilities it is ``averaged`` alone.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`.
        averaged: expected metric of the average of the fold models, ``value`` plus `averaging_gain`.
        brier: expected Brier score of that average, 0 to 2.
    """
    if METRICS[metric].needs == "probabilities":
        return averaged
    return (averaged + 1.0 - brier) / 2.0


def objective_name(metric: str) -> str:
    """Name of `objective` in the Optuna studies of earlier releases, whose trials have it as their value."""
    return metric if METRICS[metric].needs == "probabilities" else f"{metric} and Brier score of the average"


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates by objective, the best first; ties by metric, then by age, the oldest first."""
    return sorted(candidates, key=lambda c: (-c.objective, -c.value, c.number))


def highest_of(ranking: Sequence[Candidate]) -> Candidate:
    """The candidate with the highest metric, which need not be the first of the ranking; of equal ones, the first."""
    return max(ranking, key=lambda candidate: candidate.value)


def choose(candidates: Iterable[Candidate]) -> Candidate:
    """The candidate with the best objective.

    Raises:
        NothingFinished: there are no candidates.
    """
    ranking = rank(candidates)
    if not ranking:
        raise NothingFinished("no trial has finished yet, so there is nothing to export")
    return ranking[0]


def average(probabilities: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of several predictions of the same images, each ``(n, classes)``, accumulated in float64."""
    mean: NDArray[np.float64] = np.mean(np.stack(probabilities), axis=0, dtype=np.float64)
    return mean.astype(np.float32)
