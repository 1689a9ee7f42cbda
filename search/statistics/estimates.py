"""How good each of several recipes is, judged on the same images: scores, what of their differences is noise, and who
can be told apart from whom. Pure functions of stored predictions.

What is exported is the average of a recipe's fold models. Scores are those of one network an image, as cross-validation
judges them; who leads, by how much and with what chance is told with what averaging is expected to add.

Every recipe has been cross-validated once or more, each time on a split that others share, so any two are compared fold
by fold. Fold scores of one recipe overlap in their training images; the variance of a mean of ``n`` differences is
therefore taken as ``s2 (1/n + test/train)`` (Nadeau & Bengio 2003, "Inference for the Generalization Error").

The best of many looks better than it is. What a recipe may be expected to show is therefore shrunk toward the mean of
all, by how far its score can be relied on. Two scores of it are used together, the metric and the calibrated soft
score, which uses more of what the network says about each image than right or wrong and so is the steadier. It is the
empirical Bayes estimate of Efron & Morris 1972 ("Empirical Bayes on Vector Observations"), with the noise of both and
what they share of it, as folds and rounds show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.metrics import score, standard_error, true_class_probability
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

Values = NDArray[np.float64]

TIED_WITHIN = 1.0
"""Standard errors behind the leader within which a recipe may as well be the best."""
ELIMINATED_BEYOND = 2.0
"""Standard errors behind the leader beyond which a recipe is given up."""
MODERATION = 5.0
"""Degrees of freedom that the pooled variance counts for beside a pair's own (Smyth 2004): five folds alone may agree
by chance."""
DRAWS = 20_000
"""Draws from which chances are counted; their standard error is 0.35 points at the most."""
BOTH_NEED = 5
"""Recipes from which on both scores are used; the covariance of fewer says nothing."""


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
    """A recipe with its cross-validations."""

    number: int
    """Of the search trial that found it."""
    rounds: tuple[Round, ...]
    study: str = ""
    """Whose trial that is; empty where all are of one study."""
    averaging_gain: float = 0.0
    """What averaging its fold models may be expected to add to the metric (`search.statistics.ranking.averaging_gain`);
    0 where that is not known of all recipes."""
    chosen: bool = True
    """Whether it is here because it did well. One that is here anyway (the default recipe) does not look better than it
    is, so it is not shrunk and does not say what the others are shrunk toward."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is known of one recipe. Scores are of the study's metric, higher is better."""

    number: int
    rounds: int
    mean: float
    """Over its rounds, as if it had run them all."""
    shrunk: float
    """What a fresh cross-validation of it may be expected to show."""
    error: float
    """Standard error of ``shrunk`` as the score of one cross-validated model on new images."""
    averaged: float
    """What the average of its fold models may be expected to show, which is what it is ranked by."""
    gap_to_leader: float
    """Paired difference to the leader: how much the leader's average is better, over the rounds that both ran."""
    gap_error: float
    """Its standard error; 0 for the leader."""
    tied: bool
    """Within `TIED_WITHIN` standard errors of the leader; the leader is."""
    eliminated: bool
    """More than `ELIMINATED_BEYOND` standard errors behind."""
    chance_best: float
    """Probability that it is truly the best of them, 0 to 1."""
    study: str = ""
    """As in `RecipeScores`."""


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """All recipes, best first."""

    rows: tuple[Estimate, ...]
    reliability: float
    """Share of the differences between the recipes' means that is not noise, 0 to 1."""
    noise: float
    """Standard error of a recipe's mean as compared with others', in units of the metric."""

    @property
    def leader(self) -> Estimate:
        """The best by ``averaged``."""
        return self.rows[0]

    def of(self, number: int, study: str = "") -> Estimate:
        """The estimate of the recipe that trial ``number`` found, in ``study`` where they are of several.

        Raises:
            KeyError: it is not among them.
        """
        for row in self.rows:
            if (row.study, row.number) == (study, number):
                return row
        raise KeyError((study, number))


def estimate(recipes: Sequence[RecipeScores], targets: Targets, metric: str) -> Estimates:
    """Compare recipes.

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
    means, left_by_round = _additive(whole)
    _, left_by_fold = _additive(by_fold)
    noise = _noise(left_by_fold / folds, left_by_round, np.isfinite(whole[0]).sum(axis=1))
    used = slice(None) if np.count_nonzero(chosen) >= BOTH_NEED else slice(1)
    shrunk, spread, between = _shrink(means[used].T, noise[:, used, used], chosen)
    means, residual = means[0], float(left_by_fold[0, 0])
    # What the noise of the recipes leaves open comes on top of which images there happen to be.
    errors = [[standard_error(metric, targets, round_.oof) for round_ in recipe.rounds] for recipe in recipes]
    sampling = np.array([np.mean(of_rounds) for of_rounds in errors])
    averaging_gains = np.array([recipe.averaging_gain for recipe in recipes])
    averaged = shrunk + averaging_gains
    chances = _chances(averaged, spread)
    lead = int(np.argmax(averaged))
    of_averages = by_fold[0] + averaging_gains[:, None]
    pairs = [_pair(of_averages[lead], of_averages[i], 2.0 * residual, overlap) for i in range(len(recipes))]
    rows = [
        Estimate(
            number=recipe.number,
            rounds=len(recipe.rounds),
            mean=float(means[i]),
            shrunk=float(shrunk[i]),
            error=float(np.hypot(sampling[i], spread[i])),
            averaged=float(averaged[i]),
            gap_to_leader=pairs[i][0],
            gap_error=pairs[i][1],
            tied=i == lead or pairs[i][0] <= TIED_WITHIN * pairs[i][1],
            eliminated=i != lead and pairs[i][0] > ELIMINATED_BEYOND * pairs[i][1],
            chance_best=float(chances[i]),
            study=recipe.study,
        )
        for i, recipe in enumerate(recipes)
    ]
    variance = float(noise[:, 0, 0].mean())
    return Estimates(
        rows=tuple(sorted(rows, key=lambda row: (-row.averaged, row.study, row.number))),
        reliability=between / (between + variance) if between + variance > 0.0 else 0.0,
        noise=float(np.sqrt(variance)),
    )


def _tables(recipes: Sequence[RecipeScores], targets: Targets, metric: str) -> tuple[Values, Values]:
    """The metric and the calibrated soft score, of whole rounds, ``(2, recipes, splits)``, and of their folds,
    ``(2, recipes, splits x folds)``; NaN where a recipe did not run a split, or a fold cannot be scored.
    """
    splits = sorted({round_.split for recipe in recipes for round_ in recipe.rounds})
    folds = int(recipes[0].rounds[0].folds.max()) + 1
    whole = np.full((2, len(recipes), len(splits)), np.nan)
    by_fold = np.full((2, len(recipes), len(splits), folds), np.nan)
    for i, recipe in enumerate(recipes):
        for round_ in recipe.rounds:
            at = splits.index(round_.split)
            temperature = fit_temperature(targets, round_.oof)
            soft = true_class_probability(targets.y, scale_temperature(round_.oof, temperature))
            whole[:, i, at] = score(metric, targets, round_.oof), targets.mean(soft)
            for fold in range(folds):
                rows = round_.folds == fold
                part = targets.select(rows)
                by_fold[:, i, at, fold] = score(metric, part, round_.oof[rows]), part.mean(soft[rows])
    by_fold[:, np.isnan(by_fold).any(axis=0)] = np.nan
    return whole, by_fold.reshape(2, len(recipes), -1)


def _additive(scores: Values) -> tuple[Values, Values]:
    """Least squares of tables ``(2, rows, columns)`` by a value of each row and an effect of each column, NaN left out.

    Returns:
        What each row would have on average had it run all columns, ``(2, rows)``, and the covariance of what is left,
        ``(2, 2)``: zero where nothing can be (one row alone).
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
    left = target - design @ solution
    return solution[:rows].T, left.T @ left / free if free > 0 else np.zeros((2, 2))


def _noise(of_a_round: Values, between_rounds: Values, rounds: NDArray[np.int64]) -> Values:
    """Covariance of each recipe's two means, as compared with others', about what new images and new trainings would
    show: ``(recipes, 2, 2)``.

    Rounds differ in split and seed and so average out how a training happened to go, but not which images there are.

    Args:
        of_a_round: covariance of one round's scores by its folds, beside what all recipes have in common.
        between_rounds: that of the rounds of one recipe, likewise; zero where there is but one.
    """
    own, training = np.diag(of_a_round), np.diag(between_rounds)
    share = float(np.min(own[training > 0.0] / training[training > 0.0], initial=1.0))
    steady = of_a_round - share * between_rounds
    return np.stack([steady + share * between_rounds / n for n in rounds])


def _shrink(means: Values, noise: Values, chosen: NDArray[np.bool_]) -> tuple[Values, Values, float]:
    """Estimates of the chosen recipes by all their scores, the others as they are.

    Args:
        means: ``(recipes, scores)``, the metric first.
        noise: ``(recipes, scores, scores)``.

    Returns:
        Estimates of the metric, their standard errors (noise only), and the variance between the chosen recipes' true
        values.
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
    # The centre is known only as well as there are recipes.
    of_centre = (1.0 - np.minimum(trust[:, 0], 1.0)) ** 2 * observed[0, 0] / len(m)
    spread[chosen] = np.sqrt(np.maximum(true[0, 0] - trust @ true[:, 0], 0.0) + of_centre)
    return shrunk, spread, float(true[0, 0])


def _pair(leader: Values, other: Values, pooled: float, overlap: float) -> tuple[float, float]:
    """How much the leader is better by fold, and the standard error of that.

    Args:
        pooled: variance of a difference as all recipes show it.
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
    """How often each is the best where all lie about their estimates normally."""
    generator = np.random.default_rng(0)
    draws = shrunk + spread * generator.standard_normal((DRAWS, len(shrunk)))
    return np.bincount(draws.argmax(axis=1), minlength=len(shrunk)) / DRAWS
