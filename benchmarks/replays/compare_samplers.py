"""Which sampler, told which score, finds the best recipe: on a surrogate fitted to a recorded table.

    python -m benchmarks.replays.compare_pruners TABLE.npz ... --sampling

A random forest learns from a table's recipes (`benchmarks.replays.curve_tables`) the true score, the accuracy, the soft
score and the calibrated soft score, all at once, so that what biases a score (label smoothing, mixing) biases it here
too. A sampler proposes recipes from the ranges that the table's recipes span, and is told one score of the forest plus
noise; the trial with the best told score is its pick. **Regret** is by how many points of the forest's truth the pick
is worse than the best of many random recipes and of everything that any sampler proposed.

A surrogate is a surrogate: a forest is piecewise constant and was fitted to a few dozen recipes, so it flatters nothing
in particular but knows only coarse effects. It ranks samplers for such spaces; it does not foretell points.

The noise is that of which images there happen to be, after what all recipes share of it, measured on the table: the
covariance over images of hits and true-class probabilities, each less its mean over recipes, divided by the number of
images. Noise of training comes on top in reality and is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.replays.curve_tables import CurveTable, Floats, calibrated_soft
from search.tuning.samplers import SAMPLERS
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature

OBJECTIVES: dict[str, tuple[float, float, float]] = {
    "accuracy": (1.0, 0.0, 0.0),
    "soft": (0.0, 1.0, 0.0),
    "calibrated soft": (0.0, 0.0, 1.0),
    "accuracy + calibrated soft": (0.5, 0.0, 0.5),
}
"""What a sampler may be told, as weights of accuracy, soft and calibrated soft."""
STARTUP = 10
"""Random trials that every sampler begins with, as the service has it with 30 trials or more."""
FEW_VALUES = 5
"""A number that takes no more values than this is a choice."""
WIDE = 30.0
"""A range whose ends are this far apart is logarithmic."""
REFERENCE_RECIPES = 5_000
"""Random recipes among which the best possible is sought."""

Suggest = Callable[[optuna.Trial], dict[str, Any]]


def _product(name: str) -> Callable[[int, int], optuna.samplers.BaseSampler]:
    """The product's own; no trial has seconds here, so all cost the same."""
    return lambda seed, startup_trials: SAMPLERS[name](seed, startup_trials, 1)


def _plain_tpe(seed: int, startup_trials: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup_trials)


CONTENDERS: dict[str, Callable[[int, int], optuna.samplers.BaseSampler]] = {
    "random": _product("random"),
    "TPE, multivariate, grouped": _product("tpe"),
    "TPE, independent": _plain_tpe,
    "GP": _product("gp"),
}
"""(seed, random trials) -> a sampler. OptunaHub's cannot be had without a network."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing that varies between a table's recipes."""

    name: str
    choices: tuple[Any, ...] = ()
    """Empty for a range."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    off: bool = False
    """Whether 0 is possible beside the range, as a switch of its own."""
    when: tuple[str, Any] | None = None
    """Name and value of the choice under which it matters; elsewhere it is 0."""


def dimensions_of(recipes: Sequence[dict[str, Any]]) -> list[Dimension]:
    """What varies, choices first. Learning rates have a range for each optimizer; the mixing strength depends on the
    mixing.
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
    """One recipe, sampled as the service samples: conditional ranges and switches are parameters of their own."""
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
    """What a table says of recipes that are not in it."""

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
        """Share of the variance of the truth that it explains of recipes it was not fitted to; below 0: none."""
        self.noise = measurement_noise(table)

    def values(self, recipes: Sequence[dict[str, Any]]) -> Floats:
        """(recipes, 4), in points: truth, accuracy, soft, calibrated soft."""
        return np.asarray(self._forest.predict(self._encoded(recipes)))

    def _encoded(self, recipes: Sequence[dict[str, Any]]) -> Floats:
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


def end_scores(table: CurveTable) -> dict[str, Floats]:
    """Accuracy, soft and calibrated soft at the end, each ``(R,)``, in points."""
    return {
        "accuracy": 100.0 * table.metric[:, -1],
        "soft": table.soft[:, -1],
        "calibrated soft": np.array([100.0 * calibrated_soft(table.y, proba) for proba in table.oof[:, 0]]),
    }


def measurement_noise(table: CurveTable) -> Floats:
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
    """One search: what each trial was told and what it was truly worth."""

    told: Floats
    truth: Floats
    seconds: float
    """That the sampler took."""

    def picked(self, trials: int) -> float:
        """True score of the one with the best told score among the first ``trials``."""
        return float(self.truth[self.told[:trials].argmax()])


def run(surrogate: Surrogate, contender: str, objective: str, trials: int, seed: int) -> Run:
    """One search by one sampler that is told one objective."""
    noise = np.random.default_rng(seed).multivariate_normal(np.zeros(3), surrogate.noise, size=trials)
    study = optuna.create_study(direction="maximize", sampler=CONTENDERS[contender](seed, STARTUP))
    told, truth = np.empty(trials), np.empty(trials)
    seconds = 0.0
    for number in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        recipe = suggest(trial, surrogate.dimensions)
        seconds += time.perf_counter() - start
        values = surrogate.values([recipe])[0]
        truth[number] = values[0]
        told[number] = float(np.dot(OBJECTIVES[objective], values[1:] + noise[number]))
        study.tell(trial, told[number])
    return Run(told=told, truth=truth, seconds=seconds)


def best_possible(surrogate: Surrogate, seed: int = 0) -> float:
    """The best truth of many random recipes, in points."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    recipes = [suggest(study.ask(), surrogate.dimensions) for _ in range(REFERENCE_RECIPES)]
    return float(surrogate.values(recipes)[:, 0].max())


def compare_samplers(
    surrogate: Surrogate, *, checkpoints: Sequence[int], searches: dict[str, int], seed: int = 0
) -> list[dict[str, object]]:
    """A row a sampler and objective: mean regret after each of ``checkpoints`` trials and its standard error.

    Args:
        checkpoints: ascending numbers of trials.
        searches: by sampler of `CONTENDERS`: how many searches; the same seeds for all.
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
