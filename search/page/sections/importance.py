"""Which sampled settings matter: their importance with its uncertainty, against what chance alone gives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import objective_of_trial
from trainer.common.arrays import Float64Array

LEAST_TRIALS = 10
"""Least number of finished trials for which importances are estimated."""
TOP_TRIALS = 5
"""Smallest number of trials in the better group: Optuna's advice for PED-ANOVA."""
ROUNDS = 40
"""Number of half-samples, and of permutations."""
BEYOND_CHANCE = 0.95
"""A setting matters if its importance exceeds this quantile of its importances for permuted scores."""
LEAST_SHARE = 0.05
"""Smallest share of a setting that matters."""
NORMAL_90 = 1.645
"""Half the width of a 90% interval, in standard errors."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of one sampled setting."""

    parameter: str
    """Name of Optuna's parameter."""
    share: float
    """Its share of the importance of all settings, 0 to 1."""
    low: float
    """Lower end of the 90% interval of ``share``."""
    high: float
    """Upper end."""
    by_chance: float
    """The share that scores without any relation to the settings stay below in 95 of 100 cases."""
    matters: bool
    """Whether its importance exceeds chance (`BEYOND_CHANCE`) and `LEAST_SHARE`."""


def importances(trials: Sequence[FrozenTrial], *, seed: int = 0) -> list[Importance]:
    """Importance of each setting that has more than one value, the largest first.

    The method is PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv 2304.10255), which Optuna extends to conditional
    settings: how much the distribution of a setting among the best tenth of the trials, five at least, differs from
    that among all trials.

    The standard error comes from half-samples without replacement, which correspond to a bootstrap (Efron 1982, "The
    Jackknife, the Bootstrap and Other Resampling Plans"); copies of a trial would look like a denser region. Permuted
    objectives show how large importances are by chance.

    Args:
        trials: finished ones of one study, with values; higher is better.

    Returns:
        Nothing for fewer than `LEAST_TRIALS` trials or without a setting that varies.
    """
    trials = [t for t in trials if t.state is TrialState.COMPLETE and t.value is not None and math.isfinite(t.value)]
    parameters = sorted({name for trial in trials for name in trial.params if _varies(name, trials)})
    if len(trials) < LEAST_TRIALS or not parameters:
        return []
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    n, generator = len(trials), np.random.default_rng(seed)
    objectives = np.array([objective_of_trial(trial) for trial in trials], dtype=np.float64)

    def shares_of(values: Float64Array) -> Float64Array:
        """Importances for other objectives; a trial whose objective is NaN does not count."""
        return _evaluate(study, parameters, values)

    measured = shares_of(objectives)
    halves, permuted = [], []
    for _ in range(ROUNDS):
        half = objectives.copy()
        half[generator.permutation(n)[: n // 2]] = np.nan
        halves.append(_normalised(shares_of(half)))
        permuted.append(shares_of(generator.permutation(objectives)))
    shares, errors = _normalised(measured), np.std(halves, axis=0, ddof=1)
    chance = np.quantile(permuted, BEYOND_CHANCE, axis=0)
    total = max(float(measured.sum()), np.finfo(np.float64).tiny)
    found = [
        Importance(
            parameter=name,
            share=float(shares[i]),
            low=float(max(0.0, shares[i] - NORMAL_90 * errors[i])),
            high=float(min(1.0, shares[i] + NORMAL_90 * errors[i])),
            by_chance=float(min(1.0, chance[i] / total)),
            matters=bool(measured[i] > chance[i] and shares[i] >= LEAST_SHARE),
        )
        for i, name in enumerate(parameters)
    ]
    return sorted(found, key=lambda importance: (-importance.share, importance.parameter))


def _varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return len({trial.params[name] for trial in trials if name in trial.params}) > 1


def _evaluate(study: optuna.Study, parameters: Sequence[str], objectives: Float64Array) -> Float64Array:
    """Importances, not normalised, of the trials whose objective is not NaN: float64, one for each parameter."""
    counted = int(np.isfinite(objectives).sum())
    quantile = min(0.5, max(0.1, TOP_TRIALS / counted))

    def loss(trial: FrozenTrial) -> float:
        return -float(objectives[trial.number])

    found = _importances(study, list(parameters), loss, quantile)
    return np.array([found.get(name, 0.0) for name in parameters], dtype=np.float64)


def _importances(
    study: optuna.Study, parameters: list[str], loss: Callable[[FrozenTrial], float], quantile: float
) -> Mapping[str, float]:
    with warnings.catch_warnings():
        # That low targets count as good, and that a rare branch of a conditional setting has few trials.
        warnings.simplefilter("ignore")
        return get_param_importances(
            study,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile),
            params=parameters,
            target=loss,
            normalize=False,
        )


def _normalised(values: Float64Array) -> Float64Array:
    total = float(values.sum())
    return values / total if total > 0.0 else np.full_like(values, 1.0 / len(values))
