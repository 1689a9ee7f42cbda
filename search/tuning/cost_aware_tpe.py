"""TPE that asks what a suggestion costs: of two that promise the same, the quicker one is tried.

The tree-structured Parzen estimator proposes what has the best expected improvement among candidates drawn near the
good trials (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"). Here the improvement is divided by
what a training costs (Snoek, Larochelle & Adams 2012, "Practical Bayesian Optimization of Machine Learning
Algorithms"), by a power of its seconds. The fewer trials are left, the less seconds count: at the end the best is
wanted, whatever it costs (Lee et al. 2020, "Cost-aware Bayesian Optimization", cost cooling).

What an epoch takes is known from the study's own trials, those given up included.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import SECONDS

if TYPE_CHECKING:
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

POWERS = {"image_size": 2.0, "epochs": 1.0}
"""Parameters that a training's seconds are taken to grow with, and by which power: as
`search.study_state.training_costs.length_ratio`.
"""
BACKBONE = "backbone"
SECONDS_COUNT = 0.5
"""Power of the seconds at the beginning of a study: of a backbone that takes four times as long twice as much is asked.
With all of them what is large is hardly tried, and large networks are often the better ones (`benchmarks/`)."""


class EpochCosts:
    """Logarithms of what trainings take, up to a constant that all have in common."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        """Learn from ended trials; whoever has no seconds or no epoch teaches nothing."""
        by_backbone: dict[object, list[float]] = {}
        for trial in trials:
            seconds, epochs = trial.user_attrs.get(SECONDS), max(trial.intermediate_values, default=0)
            if isinstance(seconds, int | float) and seconds > 0.0 and epochs > 0:
                size = _value(trial.params, "image_size")
                of_size = POWERS["image_size"] * math.log(float(size)) if size is not None else 0.0
                by_backbone.setdefault(_value(trial.params, BACKBONE), []).append(math.log(seconds / epochs) - of_size)
        everything = [cost for costs in by_backbone.values() for cost in costs]
        self._mean = float(np.mean(everything)) if everything else 0.0
        # A backbone that was seen once may have been seen at a bad moment: the mean of all counts as one trial more.
        self._by_backbone = {
            backbone: (sum(costs) + self._mean) / (len(costs) + 1) for backbone, costs in by_backbone.items()
        }

    def of(self, params: Mapping[str, Any]) -> float:
        """Of a training with these parameters, by their names; what is missing is the same for all."""
        cost = self._by_backbone.get(_value(params, BACKBONE), self._mean)
        for name, power in POWERS.items():
            value = _value(params, name)
            cost += power * math.log(float(value)) if value is not None else 0.0
        return cost


class CostAwareTPESampler(TPESampler):
    """Optuna's multivariate, grouped TPE with constant liar, which weighs what a suggestion promises against what it
    costs.
    """

    def __init__(self, *, seed: int, startup_trials: int, trials: int) -> None:
        """
        Args:
            startup_trials: random ones before it learns.
            trials: of the whole study, at least 1: by then seconds count nothing any more.
        """
        with warnings.catch_warnings():
            # `group` and `constant_liar` are marked experimental; both are measured to work with Optuna 5.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True
            )
        self._trials = max(1, trials)
        self._space: Mapping[str, BaseDistribution] = {}
        self._log_costs = EpochCosts([])
        self._share, self._weight = 1.0, 0.0

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._space, self._weight = search_space, 0.0
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        ended = study._get_trials(deepcopy=False, states=states, use_cache=True)
        # Of one trial alone TPE takes all for good ones, and then nothing promises more than anything else.
        if len(ended) > 1 and any(name.partition("@")[0] in (BACKBONE, *POWERS) for name in search_space):
            self._log_costs = EpochCosts(ended)
            self._share = default_gamma(len(ended)) / len(ended)
            self._weight = SECONDS_COUNT * max(0.0, 1.0 - len(ended) / self._trials)
        return super()._sample(study, trial, search_space)

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[Any]], mpe_below: _ParzenEstimator, mpe_above: _ParzenEstimator
    ) -> NDArray[np.float64]:
        ratio = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        if self._weight == 0.0:
            return ratio
        # Bergstra et al.: the expected improvement is proportional to 1 / (share + (1 - share) bad / good).
        improvement = -np.logaddexp(np.log(self._share), np.log1p(-self._share) - ratio)
        costs = [
            self._log_costs.of(
                {name: self._space[name].to_external_repr(values[i]) for name, values in samples.items()}
            )
            for i in range(len(ratio))
        ]
        return np.asarray(improvement - self._weight * np.array(costs))


def _value(params: Mapping[str, Any], field: str) -> Any:
    """Of the parameter that sets ``field``, whose name may end in the condition under which it does; None: none."""
    return next((value for name, value in params.items() if name.partition("@")[0] == field), None)
