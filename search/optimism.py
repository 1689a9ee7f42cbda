"""How good the best of many really is. Pure functions of stored predictions.

Whoever is picked by its score on some images looks better on these than it is: the more were tried, the more. What the
choice is worth is found by choosing again and again without a part of the images and judging the choice on that part:
nested selection, as Varma & Simon 2006 ("Bias in error estimation when using cross-validation for model selection")
ask for. Predictions are out-of-fold already, so nothing is trained for it, as in the bootstrap of Tsamardinos et al.
2018 ("Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation"), which sees fewer
images and so is more pessimistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.selection import SOFT_WEIGHT, soft_score
from trainer.calibration import scale_temperature
from trainer.metrics import (
    SMALLEST_PROBABILITY,
    Labels,
    Weights,
    score,
    standard_error,
    true_class_probability,
)

Values = NDArray[np.float64]

PARTS = 10
"""Parts of the images; a choice sees all but one of them."""
REPEATS = 10
"""Divisions into parts that are averaged: with one alone the answer would depend on the draw."""
TEMPERATURES = (*np.geomspace(0.1, 1.0, 10, endpoint=False), 1.0, *np.geomspace(10.0, 1.0, 10, endpoint=False)[::-1])
"""Of which the best is taken for the soft score: a finer choice would not change who is chosen."""
UNCALIBRATED = TEMPERATURES.index(1.0)
POOL = 30
"""Recipes that are looked at, the best first: none of the others would ever be chosen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """A recipe that might have been chosen. ``n`` images, ``C`` classes."""

    searched: NDArray[np.float32]
    """Out-of-fold probabilities in the search, ``(n, C)``."""
    fresh: tuple[NDArray[np.float32], ...] = ()
    """Those of its confirmations, which judge it where there are any: a training that went well by luck is repeated."""


@dataclass(frozen=True, kw_only=True)
class Honest:
    """What choosing the best gave. Scores are of the study's metric, higher is better."""

    score: float
    """What the recipe that was chosen may be expected to show on new images, as one network."""
    error: float
    """Its standard error over the draw of the images."""


def honest_score(tried: Sequence[Tried], y: Labels, metric: str, weights: Weights | None = None) -> Honest:
    """What the best of those that were tried is worth.

    Args:
        tried: all recipes that might have been chosen, one at least.
        y: true classes, ``(n,)``.
        metric: a name in `trainer.metrics.METRICS`.
        weights: how much each image counts, ``(n,)``; None: all the same.

    Raises:
        ValueError: nothing was tried.
    """
    if not tried:
        raise ValueError("nothing was tried, so there is no best")
    evidence = [
        [_Evidence.of(proba, y, metric, weights) for proba in (recipe.searched, *recipe.fresh)] for recipe in tried
    ]
    whole = np.array([_worths(rounds, np.ones((len(y), 1)), metric)[0] for rounds in evidence])
    pool, generator = np.argsort(-whole, kind="stable")[:POOL], np.random.default_rng(0)
    scores = []
    for repeat in range(REPEATS):
        part_of = generator.permutation(len(y)) % min(PARTS, len(y))
        kept = np.arange(part_of.max() + 1) != part_of[:, None]
        chosen = np.array([_worths(evidence[recipe], kept, metric) for recipe in pool]).argmax(axis=0)
        judges = [_judges(tried[recipe], repeat) for recipe in pool[chosen]]
        proba = np.stack(judges)[part_of, np.arange(len(y))]
        scores.append(score(metric, y, proba, weights))
    return Honest(score=float(np.mean(scores)), error=standard_error(metric, y, proba, weights))


def _judges(recipe: Tried, repeat: int) -> NDArray[np.float32]:
    return recipe.fresh[repeat % len(recipe.fresh)] if recipe.fresh else recipe.searched


@dataclass(frozen=True, kw_only=True, eq=False)
class _Evidence:
    """What each image says for a cross-validation, times what the image counts, so that any part of them can be asked.
    For metrics other than accuracy and log loss the soft score stands in: it needs no image of every class.

    ``G`` temperatures: the best one of a part is found by its images alone.
    """

    hits: Values
    """1 where right, ``(n,)``; 0 for metrics other than accuracy."""
    log_likelihood: Values
    """At each temperature, ``(G, n)``."""
    soft: Values
    """Probability of the true class at each temperature, ``(G, n)``."""
    counts: Values
    """Of the images, ``(n,)``."""

    @classmethod
    def of(cls, proba: NDArray[np.float32], y: Labels, metric: str, weights: Weights | None) -> _Evidence:
        counts = np.ones(len(y)) if weights is None else weights
        # Log loss is judged as it is.
        temperatures = (1.0,) if metric == "log_loss" else TEMPERATURES
        soft = np.stack([true_class_probability(y, scale_temperature(proba, t)) for t in temperatures])
        likelihood = np.log(np.maximum(soft, SMALLEST_PROBABILITY), dtype=np.float64)
        hits = (proba.argmax(axis=1) == y) * float(metric == "accuracy")
        return cls(hits=hits * counts, log_likelihood=likelihood * counts, soft=soft * counts, counts=counts)

    def worth(self, parts: NDArray[Any], metric: str) -> Values:
        """As `search.selection.worth`, of parts of the images: ``(n, P)`` of 0 and 1 -> ``(P,)``."""
        likelihood, count = self.log_likelihood @ parts, self.counts @ parts
        if metric == "log_loss":
            return np.asarray(likelihood[0] / count)
        best, sums = likelihood.argmax(axis=0), self.soft @ parts
        soft = soft_score(sums[UNCALIBRATED], sums[best, np.arange(parts.shape[1])])
        return np.asarray((self.hits @ parts + SOFT_WEIGHT * soft) / count)


def _worths(rounds: Sequence[_Evidence], parts: NDArray[Any], metric: str) -> Values:
    """Of each part of the images, ``(P,)``, averaged over a recipe's cross-validations."""
    return np.asarray(np.mean([evidence.worth(parts, metric) for evidence in rounds], axis=0))
