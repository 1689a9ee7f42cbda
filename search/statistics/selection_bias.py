"""Score of the best of many recipes, without selection bias. Pure functions of stored predictions.

A recipe that was selected by its score on some images scores higher on them than on new ones. This selection bias grows
with the number of recipes. It is removed by nested selection (Varma & Simon 2006, "Bias in error estimation when using
cross-validation for model selection"): the selection is repeated without a part of the images, and the selected recipe
is scored on that part.

The predictions are out-of-fold already, so nested selection needs no training. Nor does the bootstrap of Tsamardinos et
al. 2018 ("Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation"). It selects on
fewer images, however, and is therefore more pessimistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.ambiguity import brier_scores
from trainer.evaluation.metrics import SMALLEST_PROBABILITY, score, standard_error, true_class_probability
from trainer.evaluation.several_labels import has_several
from trainer.evaluation.targets import Labels, Targets
from trainer.evaluation.temperature_scaling import scale_temperature

Values = NDArray[np.float64]

PARTS = 10
"""Number of parts of the images. Each selection uses all parts but one."""
REPEATS = 10
"""Number of random divisions into parts. Their average depends less on the draw than a single division."""
POOL = 30
"""Number of best recipes that enter the selection. Recipes below them would never be selected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidated:
    """One cross-validation of a recipe. ``n`` images, ``C`` classes."""

    oof: NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``."""
    ambiguity: float = 0.0
    """Ambiguity of its fold models (`trainer.evaluation.ambiguity`); 0: they count as one network."""
    temperature: float = 1.0
    """Temperature at which the ambiguity was computed."""
    averaging_gain: float = 0.0
    """Expected gain in the metric from averaging the fold models."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateRecipe:
    """A recipe that might have been selected."""

    searched: CrossValidated
    """Its cross-validation in the search."""
    fresh: tuple[CrossValidated, ...] = ()
    """Its confirmations. If there are any, they alone score the recipe: they do not share the luck of the search."""


@dataclass(frozen=True, kw_only=True)
class UnbiasedScore:
    """Score of the selected recipe without selection bias, in the study's metric; higher is better."""

    score: float
    """Expected score on new images, of one network."""
    error: float
    """Standard error of ``score`` over the draw of the images."""
    optimism: float
    """Selection bias of the best recipe's score, averaging gain included: by how much it is too high, 0 or more."""


def unbiased_score(candidates: Sequence[CandidateRecipe], targets: Targets, metric: str) -> UnbiasedScore:
    """Estimate the score of the best recipe by nested selection.

    Args:
        candidates: all recipes that might have been selected, one at least.
        targets: true classes and weights of the n images.
        metric: a name in `trainer.evaluation.metrics.METRICS`.

    Raises:
        ValueError: no candidates.
    """
    if not candidates:
        raise ValueError("nothing was tried, so there is no best")
    y = targets.y
    image_weights = np.ones(len(y)) if targets.image_weights is None else targets.image_weights
    runs = [(recipe.searched, *recipe.fresh) for recipe in candidates]
    evidence = np.array(
        [np.mean([_evidence(run, y, metric) for run in trainings], axis=0) * image_weights for trainings in runs]
    )
    pool, generator = np.argsort(-evidence.sum(axis=1), kind="stable")[:POOL], np.random.default_rng(0)
    averaging_gains = np.array([np.mean([run.averaging_gain for run in trainings]) for trainings in runs])
    scores, optimism = [], []
    for repeat in range(REPEATS):
        part_of = generator.permutation(len(y)) % min(PARTS, len(y))
        in_selection = np.arange(part_of.max() + 1) != part_of[:, None]  # (n, parts): all images outside the part
        chosen = pool[(evidence[pool] @ in_selection).argmax(axis=0)]  # (parts,): the recipe selected without the part
        proba = np.stack([_scoring_oof(candidates[recipe], repeat) for recipe in chosen])[part_of, np.arange(len(y))]
        scores.append(score(metric, targets, proba))
        apparent = score(metric, targets, _scoring_oof(candidates[pool[0]], repeat)) + averaging_gains[pool[0]]
        optimism.append(apparent - scores[-1] - np.average(averaging_gains[chosen[part_of]], weights=image_weights))
    return UnbiasedScore(
        score=float(np.mean(scores)),
        error=standard_error(metric, targets, proba),
        optimism=max(0.0, float(np.mean(optimism))),
    )


def _scoring_oof(recipe: CandidateRecipe, repeat: int) -> NDArray[np.float32]:
    """The out-of-fold probabilities that score a recipe: those of its confirmations in turn, or else of its search."""
    return (recipe.fresh[repeat % len(recipe.fresh)] if recipe.fresh else recipe.searched).oof


def _evidence(run: CrossValidated, y: Labels, metric: str) -> Values:
    """Contribution of each image to the objective of a recipe, ``(n,)``. Recipes are ranked by sums of it over images.

    For accuracy and log loss the mean is `search.statistics.ranking.objective` up to a factor. For other metrics the
    Brier score and the averaging gain are used without the metric, because a part may lack images of a class. The
    temperature is fitted to all images: one number hardly overfits a tenth of them.
    """
    several = has_several(y)
    if metric == "log_loss" and several:
        right = np.where(y == 1, run.oof, 1.0 - run.oof)
        return np.asarray(np.log(np.maximum(right, SMALLEST_PROBABILITY), dtype=np.float64).mean(axis=1))
    if metric == "log_loss":
        log_likelihood = np.log(np.maximum(true_class_probability(y, run.oof), SMALLEST_PROBABILITY), dtype=np.float64)
        return np.asarray(log_likelihood)
    brier = brier_scores(y, scale_temperature(run.oof, run.temperature, several_labels=several)) - run.ambiguity
    hits = np.zeros(len(y)) if several else (run.oof.argmax(axis=1) == y) * float(metric == "accuracy")
    averaged = hits + run.averaging_gain
    return np.asarray(averaged + 1.0 - brier)
