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

import numpy as np
from numpy.typing import NDArray

from search.selection import SOFT_WEIGHT
from trainer.calibration import fit_temperature, scale_temperature
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
    worths = np.stack([_worths(recipe, y, metric, weights) for recipe in tried])
    pool = np.argsort(-worths.sum(axis=1), kind="stable")[:POOL]
    worths, generator = worths[pool], np.random.default_rng(0)
    scores = []
    for repeat in range(REPEATS):
        part_of = generator.permutation(len(y)) % min(PARTS, len(y))
        of_part = worths @ np.eye(part_of.max() + 1)[part_of]
        chosen = (of_part.sum(axis=1, keepdims=True) - of_part).argmax(axis=0)
        judges = [_judges(tried[recipe], repeat) for recipe in pool[chosen]]
        proba = np.stack(judges)[part_of, np.arange(len(y))]
        scores.append(score(metric, y, proba, weights))
    return Honest(score=float(np.mean(scores)), error=standard_error(metric, y, proba, weights))


def _judges(recipe: Tried, repeat: int) -> NDArray[np.float32]:
    return recipe.fresh[repeat % len(recipe.fresh)] if recipe.fresh else recipe.searched


def _worths(recipe: Tried, y: Labels, metric: str, weights: Weights | None) -> Values:
    """What each image says for choosing the recipe, ``(n,)``, averaged over its cross-validations."""
    rounds = (recipe.searched, *recipe.fresh)
    worths: Values = np.mean([_worth_of_images(proba, y, metric, weights) for proba in rounds], axis=0)
    return worths if weights is None else worths * weights


def _worth_of_images(proba: NDArray[np.float32], y: Labels, metric: str, weights: Weights | None) -> Values:
    """As `search.selection.worth` for metrics that are means over the images; for the others the soft score stands in,
    which needs no part to have images of every class.
    """
    if metric == "log_loss":
        return np.log(np.maximum(true_class_probability(y, proba), SMALLEST_PROBABILITY)).astype(np.float64)
    sure = true_class_probability(y, scale_temperature(proba, fit_temperature(y, proba, weights))).astype(np.float64)
    if metric != "accuracy":
        return sure
    hits = (proba.argmax(axis=1) == y).astype(np.float64)
    worths: Values = hits + SOFT_WEIGHT * sure
    return worths
