"""From what is kept to what is chosen. Pure functions of stored values: no database, no torch.

This is the one place where a winner is picked. What is exported is the average of many networks, and what averaging
adds differs from recipe to recipe; it is told without labels (`trainer.evaluation.ambiguity`). A metric that counts
right and wrong labels throws away how nearly an image was right, and among the best of many its differences are mostly
luck. So finished trials are ranked by what the average of their fold models may be expected to score, by the metric and
by the Brier score together (`objective`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import METRICS

ERRORS_FALL = 1.15
"""By how much larger a share averaging lessens the errors than the Brier score, on recorded tables (`benchmarks/`)."""


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
    averaged: float
    """What the average of the fold models may be expected to score by the metric; ``value`` where nobody can tell."""
    brier: float | None
    """The Brier score of that average; None where an older release stored the trial."""
    objective: float
    """By what it is ranked, see `objective`."""


def averaging_gain(metric: str, value: float, brier: float | None, ambiguity: float | None) -> float:
    """By how much the average of a training's networks may be expected to score better than one of them: 0 or more.

    What is missing to the best possible score falls by nearly the same share as the Brier score: on recorded tables the
    correlation of what was foretold so with what came true was 0.83 to 0.93 over recipes (`benchmarks/`).

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`. Of one that judges probabilities nothing is foretold.
        value: what one network scores.
        brier: of the average, see `trainer.evaluation.ambiguity`; None where it is not known.
        ambiguity: by how much that is better than one network's; None likewise.
    """
    if METRICS[metric].needs == "probabilities" or brier is None or not ambiguity:
        return 0.0
    missing = METRICS[metric].bounds[1] - value
    return missing * min(1.0, ERRORS_FALL * ambiguity / (brier + ambiguity))


def objective(metric: str, averaged: float, brier: float) -> float:
    """By what finished trials are ranked, and what the sampler learns from: higher is better. It is the mean of
    ``averaged`` and of 1 less ``brier``, which is the probability of the true class where probabilities are right.

    Args:
        metric: a name in `trainer.evaluation.metrics.METRICS`. One that judges probabilities needs no help.
        averaged: what the average may be expected to score, see `averaging_gain`.
        brier: of the average, 0 to 2.
    """
    if METRICS[metric].needs == "probabilities":
        return averaged
    return (averaged + 1.0 - brier) / 2.0


def older_worth(metric: str, value: float, soft: float) -> float:
    """What stands for `objective` where an older release stored trials that nothing is known of but the metric and the
    mean probability of the true class.
    """
    return objective(metric, value, 1.0 - soft)


def objective_name(metric: str) -> str:
    """What `objective` is called where Optuna shows it."""
    return metric if METRICS[metric].needs == "probabilities" else f"{metric} and Brier score of the average"


def older_worth_name(metric: str) -> str:
    """What `older_worth` was called there."""
    return f"{metric} with true-class probability"


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Best first; of equal ones the better metric, then the elder."""
    return sorted(candidates, key=lambda c: (-c.objective, -c.value, c.number))


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
