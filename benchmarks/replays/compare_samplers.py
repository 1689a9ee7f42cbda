"""Samplers and objectives, compared on a surrogate that is fitted to a recorded table.

    python -m benchmarks.replays.compare_pruners TABLE.npz ... --sampling

A random forest is fitted to a table's recipes (`benchmarks.replays.curve_tables`). It predicts four values jointly: the
true score, the accuracy, the *soft* score (mean true-class probability) and the calibrated soft score. A setting that
biases a score (label smoothing, mixing) therefore biases it here too. A sampler proposes recipes from the ranges of the
table's recipes, and observes one predicted score plus noise. Its choice is the trial with the best observed score.
**Regret** is the distance in points of the forest's true score between the choice and the best of many random recipes
and of all proposals.

The forest is piecewise constant and fitted to a few dozen recipes, so it knows only coarse effects. It ranks samplers
for such search spaces; it does not predict scores.

The noise is the sampling error of the images, without the part that all recipes share. It is measured on the table: the
covariance over images of correct predictions and true-class probabilities, each minus its mean over recipes, divided by
the number of images. Noise of trainings is not included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.replays.curve_tables import CurveTable, calibrated_soft
from search.tuning.samplers import SAMPLERS
from trainer.common.arrays import Float64Array
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

OBJECTIVES: dict[str, tuple[float, float, float]] = {
    "accuracy": (1.0, 0.0, 0.0),
    "soft": (0.0, 1.0, 0.0),
    "calibrated soft": (0.0, 0.0, 1.0),
    "accuracy + calibrated soft": (0.5, 0.0, 0.5),
}
"""Objectives of a sampler, as weights of accuracy, soft and calibrated soft score."""
STARTUP = 10
"""Random trials at the beginning, as `search start` has them with a budget of 30 trials or more."""
FEW_VALUES = 5
"""A number with at most this many distinct values becomes a choice."""
WIDE = 30.0
"""A range becomes logarithmic if its upper end is at least this multiple of its lower end."""
REFERENCE_RECIPES = 5_000
"""Random recipes that estimate the best possible score."""

Suggest = Callable[[optuna.Trial], dict[str, Any]]


def _product(name: str) -> Callable[[int, int], optuna.samplers.BaseSampler]:
    """One of Retable's samplers. Trials have no training time here, so all cost the same."""
    return lambda seed, startup_trials: SAMPLERS[name](seed, startup_trials, 1)


def _plain_tpe(seed: int, startup_trials: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup_trials)


CONTENDERS: dict[str, Callable[[int, int], optuna.samplers.BaseSampler]] = {
    "random": _product("random"),
    "TPE, multivariate, grouped": _product("tpe"),
    "TPE, independent": _plain_tpe,
    "GP": _product("gp"),
}
"""(seed, random trials) -> a sampler. OptunaHub's samplers need a network connection and are left out."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A field that differs between a table's recipes."""

    name: str
    choices: tuple[Any, ...] = ()
    """Empty for a range."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    off: bool = False
    """Whether a separate switch sets the value to 0, outside of the range."""
    when: tuple[str, Any] | None = None
    """Name and value of the choice that activates this dimension; otherwise the value is 0."""


def dimensions_of(recipes: Sequence[dict[str, Any]]) -> list[Dimension]:
    """Dimensions of the fields that differ between recipes, choices first. Learning rates have a range for each
    optimizer.
    """
    varying = [name for name in recipes[0] if len({str(recipe[name]) for recipe in recipes}) > 1]
    choices, ranges = [], []
    for name in varying:
        values = [recipe[name] for recipe in recipes]
        distinct = sorted(set(values), key=str)
        if len(distinct) <= FEW_VALUES or any(isinstance(value, str | bool) for value in values):
            choices.append(Dimension(name=name, choices=tuple(distinct)))
        else:
            ranges.append(name)
    conditions = {choice.name: choice for choice in choices}
    found = [*choices]
    for name in ranges:
        owner = next((c for c in conditions if name.endswith("lr") and c in ("opt", "optimizer.name")), None)
        for value in conditions[owner].choices if owner else (None,):
            values = [float(recipe[name]) for recipe in recipes if owner is None or recipe[owner] == value]
            above = [value for value in values if value > 0.0] or [0.0]
            off = np.mean([value == 0.0 for value in values]) >= 0.1
            low, high = (min(above) if off else min(values)), max(values)
            found.append(
                Dimension(
                    name=name,
                    low=low,
                    high=high,
                    log=low > 0.0 and high / low >= WIDE,
                    off=bool(off),
                    when=(owner, value) if owner else None,
                )
            )
    return found


def suggest(trial: optuna.Trial, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """Sample one recipe. Conditional ranges and switches are parameters of their own, as in Retable."""
    recipe: dict[str, Any] = {}
    for dimension in dimensions:
        if dimension.choices:
            recipe[dimension.name] = trial.suggest_categorical(dimension.name, dimension.choices)
            continue
        if dimension.when is not None and recipe[dimension.when[0]] != dimension.when[1]:
            continue
        name = dimension.name if dimension.when is None else f"{dimension.name}@{dimension.when[1]}"
        if dimension.off and not trial.suggest_categorical(f"{name}.on", (False, True)):
            recipe[dimension.name] = 0.0
        else:
            recipe[dimension.name] = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return recipe


class Surrogate:
    """A forest that predicts the scores of recipes outside of a table."""

    def __init__(self, table: CurveTable, seed: int = 0) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self.dimensions = dimensions_of(table.recipes)
        self._names = list(dict.fromkeys(dimension.name for dimension in self.dimensions))
        targets = np.column_stack([table.truth, *end_scores(table).values()])
        self._forest = RandomForestRegressor(
            100, min_samples_leaf=2, max_features=0.5, oob_score=True, random_state=seed
        )
        self._forest.fit(self._encoded(table.recipes), targets)
        residual = table.truth - self._forest.oob_prediction_[:, 0]
        self.fit = float(1.0 - residual.var() / table.truth.var())
        """Out-of-bag R^2: explained share of the variance of the true score; it may be negative."""
        self.noise = measurement_noise(table)

    def values(self, recipes: Sequence[dict[str, Any]]) -> Float64Array:
        """(recipes, 4), in points: truth, accuracy, soft, calibrated soft."""
        return np.asarray(self._forest.predict(self._encoded(recipes)))

    def _encoded(self, recipes: Sequence[dict[str, Any]]) -> Float64Array:
        columns = []
        for name in self._names:
            of_name = [dimension for dimension in self.dimensions if dimension.name == name]
            values = [recipe[name] for recipe in recipes]
            if of_name[0].choices:
                columns += [[float(value == choice) for value in values] for choice in of_name[0].choices]
            elif any(dimension.log for dimension in of_name):
                least = min(dimension.low for dimension in of_name)
                columns.append(np.log10(np.maximum(np.array(values, dtype=np.float64), least / 10.0)).tolist())
            else:
                columns.append([float(value) for value in values])
        return np.array(columns, dtype=np.float64).T


def end_scores(table: CurveTable) -> dict[str, Float64Array]:
    """Accuracy, soft and calibrated soft score after the last epoch, each ``(R,)``, in points."""
    return {
        "accuracy": 100.0 * table.metric[:, -1],
        "soft": table.soft[:, -1],
        "calibrated soft": np.array([100.0 * calibrated_soft(table.y, proba) for proba in table.oof[:, 0]]),
    }


def measurement_noise(table: CurveTable) -> Float64Array:
    """(3, 3), in squared points: covariance of the errors of accuracy, soft and calibrated soft (see the module)."""
    rows = np.arange(len(table.y))
    parts = []
    for proba in table.oof[:, 0]:
        calibrated = scale_temperature(proba, fit_temperature(Targets(table.y), proba))
        parts.append([proba.argmax(axis=1) == table.y, proba[rows, table.y], calibrated[rows, table.y]])
    by_image = 100.0 * np.array(parts, dtype=np.float64)  # (R, 3, n)
    own = by_image - by_image.mean(axis=0)
    return np.asarray(np.mean([np.cov(values) for values in own], axis=0) / len(table.y))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One search, with the observed and the true score of each trial."""

    scores: Float64Array
    """(trials,): observed objective."""
    truth: Float64Array
    """(trials,): true score in points."""
    seconds: float
    """Time of the sampler."""

    def picked(self, trials: int) -> float:
        """True score of the trial with the best observed score among the first ``trials``."""
        return float(self.truth[self.scores[:trials].argmax()])


def run(surrogate: Surrogate, contender: str, objective: str, trials: int, seed: int) -> Run:
    """One search by one sampler with one objective."""
    noise = np.random.default_rng(seed).multivariate_normal(np.zeros(3), surrogate.noise, size=trials)
    study = optuna.create_study(direction="maximize", sampler=CONTENDERS[contender](seed, STARTUP))
    scores, truth = np.empty(trials), np.empty(trials)
    seconds = 0.0
    for number in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        recipe = suggest(trial, surrogate.dimensions)
        seconds += time.perf_counter() - start
        values = surrogate.values([recipe])[0]
        truth[number] = values[0]
        scores[number] = float(np.dot(OBJECTIVES[objective], values[1:] + noise[number]))
        study.tell(trial, scores[number])
    return Run(scores=scores, truth=truth, seconds=seconds)


def best_possible(surrogate: Surrogate, seed: int = 0) -> float:
    """The best true score of many random recipes, in points."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    recipes = [suggest(study.ask(), surrogate.dimensions) for _ in range(REFERENCE_RECIPES)]
    return float(surrogate.values(recipes)[:, 0].max())


def compare_samplers(
    surrogate: Surrogate, *, checkpoints: Sequence[int], searches: dict[str, int], seed: int = 0
) -> list[dict[str, object]]:
    """A row for each sampler and objective: mean regret and standard error after each of ``checkpoints`` trials.

    Args:
        checkpoints: ascending numbers of trials.
        searches: number of searches by name of the sampler; all samplers use the same seeds.
    """
    found = {
        (contender, objective): [run(surrogate, contender, objective, checkpoints[-1], seed + i) for i in range(count)]
        for contender, count in searches.items()
        for objective in OBJECTIVES
    }
    best = max(best_possible(surrogate), *(float(one.truth.max()) for runs in found.values() for one in runs))
    rows: list[dict[str, object]] = []
    for (contender, objective), runs in found.items():
        row: dict[str, object] = {"sampler": contender, "told": objective, "searches": len(runs)}
        for trials in checkpoints:
            regrets: NDArray[np.float64] = np.array([best - one.picked(trials) for one in runs])
            error = regrets.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else 0.0
            row[f"{trials} trials"] = f"{regrets.mean():.2f} ± {error:.2f}"
        row["ms a trial"] = f"{1000.0 * np.mean([one.seconds for one in runs]) / checkpoints[-1]:.0f}"
        rows.append(row)
    return rows
