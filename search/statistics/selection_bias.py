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

from trainer.evaluation.ambiguity import brier_scores
from trainer.evaluation.metrics import SMALLEST_PROBABILITY, score, standard_error, true_class_probability
from trainer.evaluation.targets import Labels, Targets
from trainer.evaluation.temperature_scaling import scale_temperature

Values = NDArray[np.float64]

PARTS = 10
"""Parts of the images; a choice sees all but one of them."""
REPEATS = 10
"""Divisions into parts that are averaged: with one alone the answer would depend on the draw."""
POOL = 30
"""Recipes that are looked at, the best first: none of the others would ever be chosen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidated:
    """A cross-validation. ``n`` images, ``C`` classes."""

    oof: NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``."""
    ambiguity: float = 0.0
    """Of its fold models (`trainer.evaluation.ambiguity`); 0 where it is not known, then of all."""
    temperature: float = 1.0
    """At which they are averaged for that."""
    averaging_gain: float = 0.0
    """What averaging them may be expected to add to the metric."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateRecipe:
    """A recipe that might have been chosen."""

    searched: CrossValidated
    """In the search."""
    fresh: tuple[CrossValidated, ...] = ()
    """Its confirmations, which judge it where there are any: a training that went well by luck is repeated."""


@dataclass(frozen=True, kw_only=True)
class UnbiasedScore:
    """What choosing the best gave. Scores are of the study's metric, higher is better."""

    score: float
    """What the recipe that was chosen may be expected to show on new images, as one network."""
    error: float
    """Its standard error over the draw of the images."""
    optimism: float
    """How much better than it is the best one looks, as the average of its fold models: 0 or more."""


def unbiased_score(candidates: Sequence[CandidateRecipe], targets: Targets, metric: str) -> UnbiasedScore:
    """What the best of those that were tried is worth.

    Args:
        candidates: all recipes that might have been chosen, one at least.
        targets: true classes and weights of the n images.
        metric: a name in `trainer.evaluation.metrics.METRICS`.

    Raises:
        ValueError: nothing was tried.
    """
    if not candidates:
        raise ValueError("nothing was tried, so there is no best")
    y = targets.y
    counts = np.ones(len(y)) if targets.image_weights is None else targets.image_weights
    evidence = np.array(
        [
            np.mean([_evidence(one, y, metric) for one in (recipe.searched, *recipe.fresh)], axis=0) * counts
            for recipe in candidates
        ]
    )
    pool, generator = np.argsort(-evidence.sum(axis=1), kind="stable")[:POOL], np.random.default_rng(0)
    averaging_gains = np.array(
        [np.mean([one.averaging_gain for one in (recipe.searched, *recipe.fresh)]) for recipe in candidates]
    )
    scores, optimism = [], []
    for repeat in range(REPEATS):
        part_of = generator.permutation(len(y)) % min(PARTS, len(y))
        kept = np.arange(part_of.max() + 1) != part_of[:, None]
        chosen = pool[(evidence[pool] @ kept).argmax(axis=0)]
        proba = np.stack([_judges(candidates[recipe], repeat) for recipe in chosen])[part_of, np.arange(len(y))]
        scores.append(score(metric, targets, proba))
        apparent = score(metric, targets, _judges(candidates[pool[0]], repeat)) + averaging_gains[pool[0]]
        optimism.append(apparent - scores[-1] - np.average(averaging_gains[chosen[part_of]], weights=counts))
    return UnbiasedScore(
        score=float(np.mean(scores)),
        error=standard_error(metric, targets, proba),
        optimism=max(0.0, float(np.mean(optimism))),
    )


def _judges(recipe: CandidateRecipe, repeat: int) -> NDArray[np.float32]:
    return (recipe.fresh[repeat % len(recipe.fresh)] if recipe.fresh else recipe.searched).oof


def _evidence(one: CrossValidated, y: Labels, metric: str) -> Values:
    """Contribution of each image to the objective of a recipe, ``(n,)``, so that any part of the images can be summed.

    It is twice `search.statistics.ranking.objective`, image by image. The Brier score needs no image of every class, so
    it stands in for metrics other than accuracy and log loss. The temperature is fitted to all images: one number
    hardly overfits a tenth of them.
    """
    if metric == "log_loss":
        likelihood = np.log(np.maximum(true_class_probability(y, one.oof), SMALLEST_PROBABILITY), dtype=np.float64)
        return np.asarray(likelihood)
    brier = brier_scores(y, scale_temperature(one.oof, one.temperature)) - one.ambiguity
    averaged = (one.oof.argmax(axis=1) == y) * float(metric == "accuracy") + one.averaging_gain
    return np.asarray(averaged + 1.0 - brier)
