"""Comparison of recipes that were cross-validated on the same images: estimated scores, their standard errors, and the
gaps between recipes. Pure functions of stored predictions.

A score is that of one network per image, as cross-validation measures it; the exported model averages the fold models.
The ranking, the gaps and the probabilities include the expected gain from averaging the fold models.

Recipes share their splits, so any two are compared fold by fold. The training parts of a recipe's folds overlap, which
correlates the differences. The variance of the mean of n differences is corrected for it (Nadeau & Bengio 2003,
"Inference for the Generalization Error"):

    s2 (1 / n + test / train)

    s2            sample variance of the n differences
    test / train  images in a fold, divided by the images that it trains on

The score of the best of many recipes is too high. Each estimate is therefore shrunk toward the mean of all recipes, and
a less reliable score is shrunk more: empirical Bayes for vectors (Efron & Morris 1972, "Empirical Bayes on Vector
Observations"). The vector holds two scores, the metric and the mean true-class probability after temperature scaling.
The second counts by how much an image is right, not only whether, and so has less noise. The covariance of the noise of
both is estimated from folds and rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.statistics.member_names import MemberName
from trainer.evaluation.metrics import score, standard_error, true_class_probability
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

Values = NDArray[np.float64]

TIED_WITHIN = 1.0
"""A recipe is tied with the leader if its gap is at most this many standard errors."""
ELIMINATED_BEYOND = 2.0
"""A recipe is eliminated if its gap to the leader exceeds this many standard errors."""
MODERATION = 5.0
"""Prior degrees of freedom of the pooled variance in a pair's moderated variance (Smyth 2004). The differences of five
folds may agree by chance, so a pair's own variance is not used alone."""
DRAWS = 20_000
"""Monte Carlo draws for the probability of being best; its standard error is at most 0.35 points."""
MIN_RECIPES_FOR_BOTH = 5
"""Smallest number of recipes for which both scores are used; the covariance of fewer means is too uncertain."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """One cross-validation of a recipe. ``n`` images, ``C`` classes."""

    split: int
    folds: NDArray[np.int64]
    """Fold of each image, ``(n,)``."""
    oof: NDArray[np.float32]
    """Out-of-fold probabilities, ``(n, C)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeScores:
    """The cross-validations of one recipe."""

    number: int
    """Number of the search trial that found the recipe."""
    rounds: tuple[Round, ...]
    study: str = ""
    """Name of the study of that trial; empty if all recipes are of one study."""
    averaging_gain: float = 0.0
    """Expected gain in the metric from averaging the fold models (`search.statistics.ranking.averaging_gain`)."""
    is_probe: bool = False
    """Whether that trial is a linear probe."""
    chosen: bool = True
    """Whether the recipe was selected by its score. The default recipe is compared without having been selected: its
    score has no selection bias, so it is not shrunk and does not enter the mean toward which others are shrunk."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimated scores of one recipe, in the study's metric; higher is better."""

    number: int
    rounds: int
    mean: float
    """Mean score over all rounds, adjusted for those that the recipe did not run."""
    shrunk: float
    """Expected score of a new cross-validation, after shrinkage."""
    error: float
    """Standard error of ``shrunk`` as a prediction of one network's score on new images."""
    averaged: float
    """Expected score of the average of the fold models, ``shrunk`` plus the averaging gain. Ranks the recipes."""
    gap_to_leader: float
    """Paired difference, leader minus this recipe, of the averaged scores, over the rounds that both ran."""
    gap_error: float
    """Standard error of ``gap_to_leader``; without meaning for the leader."""
    tied: bool
    """Whether the gap is at most `TIED_WITHIN` standard errors; True for the leader."""
    eliminated: bool
    """Whether the gap exceeds `ELIMINATED_BEYOND` standard errors."""
    chance_best: float
    """Probability that its true score is the highest, 0 to 1."""
    study: str = ""
    """As in `RecipeScores`."""
    is_probe: bool = False
    """As in `RecipeScores`."""

    @property
    def name(self) -> MemberName:
        """The recipe's name."""
        return MemberName(trial=self.number, study=self.study, is_probe=self.is_probe)


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """All recipes, best first."""

    rows: tuple[Estimate, ...]
    reliability: float
    """Share of the variance between the recipes' means that is not noise, 0 to 1."""
    noise: float
    """Standard error of a recipe's mean, relative to the other recipes, in units of the metric."""

    @property
    def leader(self) -> Estimate:
        """The recipe with the highest ``averaged``."""
        return self.rows[0]

    def of(self, number: int, study: str = "") -> Estimate:
        """The estimate of the recipe found by trial ``number``.

        Args:
            study: name of the trial's study, if the recipes are of several.

        Raises:
            KeyError: no such recipe was compared.
        """
        for row in self.rows:
            if (row.study, row.number) == (study, number):
                return row
        raise KeyError((study, number))


def estimate(recipes: Sequence[RecipeScores], targets: Targets, metric: str) -> Estimates:
    """Estimate the scores of recipes and compare them.

    Args:
        recipes: one at least, each with one round at least; rounds of the same split have the same folds.
        targets: true classes and weights of the n images.
        metric: a name in `trainer.evaluation.metrics.METRICS`.

    Raises:
        ValueError: nothing to compare, or the same recipe twice.
    """
    numbers = [(recipe.study, recipe.number) for recipe in recipes]
    if not recipes or not all(recipe.rounds for recipe in recipes) or len(set(numbers)) < len(numbers):
        raise ValueError(f"needs different recipes with a cross-validation each, not {numbers}")
    whole, by_fold = _tables(recipes, targets, metric)
    chosen = np.array([recipe.chosen for recipe in recipes])
    folds = int(recipes[0].rounds[0].folds.max()) + 1
    overlap = 1.0 / (folds - 1)  # test / train of one fold
    means, residual_by_round = _additive(whole)
    _, residual_by_fold = _additive(by_fold)
    noise = _noise(residual_by_fold / folds, residual_by_round, np.isfinite(whole[0]).sum(axis=1))
    used = slice(None) if np.count_nonzero(chosen) >= MIN_RECIPES_FOR_BOTH else slice(1)
    shrunk, spread, between = _shrink(means[used].T, noise[:, used, used], chosen)
    means, residual = means[0], float(residual_by_fold[0, 0])
    # Two independent parts of the error: the draw of the images, and the noise of the recipe's own trainings.
    errors = [[standard_error(metric, targets, round_.oof) for round_ in recipe.rounds] for recipe in recipes]
    sampling = np.array([np.mean(of_rounds) for of_rounds in errors])
    averaging_gains = np.array([recipe.averaging_gain for recipe in recipes])
    averaged = shrunk + averaging_gains
    chances = _chances(averaged, spread)
    lead = int(np.argmax(averaged))
    of_averages = by_fold[0] + averaging_gains[:, None]
    gaps = [_pair(of_averages[lead], own, 2.0 * residual, overlap) for own in of_averages]
    rows = [
        Estimate(
            number=recipe.number,
            rounds=len(recipe.rounds),
            mean=float(means[i]),
            shrunk=float(shrunk[i]),
            error=float(np.hypot(sampling[i], spread[i])),
            averaged=float(averaged[i]),
            gap_to_leader=gap,
            gap_error=gap_error,
            tied=i == lead or gap <= TIED_WITHIN * gap_error,
            eliminated=i != lead and gap > ELIMINATED_BEYOND * gap_error,
            chance_best=float(chances[i]),
            study=recipe.study,
            is_probe=recipe.is_probe,
        )
        for i, (recipe, (gap, gap_error)) in enumerate(zip(recipes, gaps, strict=True))
    ]
    variance = float(noise[:, 0, 0].mean())
    return Estimates(
        rows=tuple(sorted(rows, key=lambda row: (-row.averaged, row.study, row.number))),
        reliability=between / (between + variance) if between + variance > 0.0 else 0.0,
        noise=float(np.sqrt(variance)),
    )


def _tables(recipes: Sequence[RecipeScores], targets: Targets, metric: str) -> tuple[Values, Values]:
    """Both scores, the metric and the mean true-class probability after temperature scaling: of whole rounds,
    ``(2, recipes, splits)``, and of single folds, ``(2, recipes, splits x folds)``.

    NaN marks a split that a recipe did not run, or a fold whose score is undefined.
    """
    splits = sorted({round_.split for recipe in recipes for round_ in recipe.rounds})
    folds = int(recipes[0].rounds[0].folds.max()) + 1
    whole = np.full((2, len(recipes), len(splits)), np.nan)
    by_fold = np.full((2, len(recipes), len(splits), folds), np.nan)
    for i, recipe in enumerate(recipes):
        for round_ in recipe.rounds:
            at = splits.index(round_.split)
            temperature = fit_temperature(targets, round_.oof)
            scaled = scale_temperature(round_.oof, temperature, several_labels=targets.several_labels)
            true_probability = true_class_probability(targets.y, scaled)
            whole[:, i, at] = score(metric, targets, round_.oof), targets.mean(true_probability)
            for fold in range(folds):
                rows = round_.folds == fold
                part = targets.select(rows)
                by_fold[:, i, at, fold] = score(metric, part, round_.oof[rows]), part.mean(true_probability[rows])
    by_fold[:, np.isnan(by_fold).any(axis=0)] = np.nan
    return whole, by_fold.reshape(2, len(recipes), -1)


def _additive(scores: Values) -> tuple[Values, Values]:
    """Fit tables ``(2, rows, columns)`` by least squares as row value plus column effect; NaN is left out.

    Returns:
        The expected mean of each row over all columns, ``(2, rows)``, and the covariance of the residuals, ``(2, 2)``:
        zero without degrees of freedom (one row alone).
    """
    _, rows, columns = scores.shape
    r, c = np.nonzero(np.isfinite(scores).all(axis=0))
    design = np.zeros((len(r) + 1, rows + columns))
    design[np.arange(len(r)), r] = 1.0
    design[np.arange(len(r)), rows + c] = 1.0
    design[-1, rows + np.unique(c)] = 1.0  # effects of the columns sum to zero
    target = np.vstack([scores[:, r, c].T, np.zeros(2)])
    solution, _, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    free = len(target) - int(rank)
    residuals = target - design @ solution
    return solution[:rows].T, residuals.T @ residuals / free if free > 0 else np.zeros((2, 2))


def _noise(of_a_round: Values, between_rounds: Values, rounds: NDArray[np.int64]) -> Values:
    """Covariance of each recipe's two mean scores around their expectation for new images and new trainings, relative
    to the other recipes: ``(recipes, 2, 2)``.

    Rounds differ in split and seed. Averaging n rounds divides the variance between trainings by n, and leaves the
    variance that comes from the draw of the images:

        (R - T) + T / n

        R  covariance of one round's scores, from its folds
        T  covariance between the rounds of a recipe, scaled down until no variance exceeds that of R

    Args:
        of_a_round: R, without what all recipes have in common.
        between_rounds: T, likewise; zero for a single round.
        rounds: n of each recipe, ``(recipes,)``.
    """
    own, training = np.diag(of_a_round), np.diag(between_rounds)
    share = float(np.min(own[training > 0.0] / training[training > 0.0], initial=1.0))
    steady = of_a_round - share * between_rounds
    return np.stack([steady + share * between_rounds / n for n in rounds])


def _shrink(means: Values, noise: Values, chosen: NDArray[np.bool_]) -> tuple[Values, Values, float]:
    """Shrink the metric of the chosen recipes toward their mean, using all their scores; leave the others unchanged.

    Args:
        means: ``(recipes, scores)``, the metric first.
        noise: ``(recipes, scores, scores)``.

    Returns:
        Estimates of the metric, ``(recipes,)``, their standard errors from noise alone, ``(recipes,)``, and the
        variance of the true values of the chosen recipes.
    """
    shrunk, spread = means[:, 0].copy(), np.sqrt(noise[:, 0, 0])
    m, v = means[chosen], noise[chosen]
    if len(m) < 2:
        return shrunk, spread, 0.0
    centre = m.mean(axis=0)
    observed = np.atleast_2d(np.cov(m, rowvar=False))
    values, vectors = np.linalg.eigh(observed - v.mean(axis=0))
    true = (vectors * np.maximum(values, 0.0)) @ vectors.T
    trust = np.stack([true @ np.linalg.pinv(true + own, hermitian=True) for own in v])[:, 0]
    shrunk[chosen] = centre[0] + np.einsum("ij,ij->i", trust, m - centre)
    # The mean toward which scores are shrunk has a standard error of its own.
    of_centre = (1.0 - np.minimum(trust[:, 0], 1.0)) ** 2 * observed[0, 0] / len(m)
    spread[chosen] = np.sqrt(np.maximum(true[0, 0] - trust @ true[:, 0], 0.0) + of_centre)
    return shrunk, spread, float(true[0, 0])


def _pair(leader: Values, other: Values, pooled: float, overlap: float) -> tuple[float, float]:
    """Mean difference of the fold scores, leader minus other, and its standard error; infinite without common folds.

    Args:
        leader, other: ``(folds,)``, NaN for folds that were not run.
        pooled: variance of a difference, estimated from all recipes.
        overlap: ``test / train`` of the correction for overlapping training parts.
    """
    differences = leader - other
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    if n == 0:
        return 0.0, float("inf")
    own = float(np.var(differences, ddof=1)) if n > 1 else pooled
    free = n - 1
    variance = (MODERATION * pooled + free * own) / (MODERATION + free)
    return float(differences.mean()), float(np.sqrt(variance * (1.0 / n + overlap)))


def _chances(shrunk: Values, spread: Values) -> Values:
    """Probability of each recipe to be the best, if true scores are normal around the estimates: ``(recipes,)``."""
    generator = np.random.default_rng(0)
    draws = shrunk + spread * generator.standard_normal((DRAWS, len(shrunk)))
    return np.bincount(draws.argmax(axis=1), minlength=len(shrunk)) / DRAWS
