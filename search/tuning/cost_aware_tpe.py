"""Cost-aware TPE: a sampler that maximises expected improvement per training time.

The tree-structured Parzen estimator draws candidates near the good trials and proposes the one with the largest
expected improvement (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"). Here the improvement is
divided by a power of the predicted training time (Snoek, Larochelle & Adams 2012, "Practical Bayesian Optimization of
Machine Learning Algorithms"). The power falls to 0 over the study, so that the last trials are chosen by improvement
alone (cost cooling; Lee et al. 2020, "Cost-aware Bayesian Optimization").

Seconds per epoch are learnt from the study's own ended trials, pruned ones included.
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

from search.study_state.optuna_attributes import SECONDS_ATTRIBUTE
from search.tuning.suggest import value_of
from studies.space.dimension import field_of

if TYPE_CHECKING:
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

POWERS = {"image_size": 2.0, "epochs": 1.0}
"""Exponents of the parameters in the model of training time, as in `search.study_state.training_costs.length_ratio`."""
BACKBONE = "backbone"
COST_EXPONENT = 0.5
"""Exponent of the training time at the beginning of a study. 0.5 means that a backbone four times slower must promise
twice the improvement. With 1, large networks, which are often the better ones, are hardly tried (`benchmarks/`).
"""


class TrainingTimeModel:
    """Model of the logarithm of training time, up to a constant that all trainings share."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        """
        Args:
            trials: ended trials; those without seconds or without an epoch are ignored.
        """
        by_backbone: dict[object, list[float]] = {}
        for trial in trials:
            seconds, epochs = trial.user_attrs.get(SECONDS_ATTRIBUTE), max(trial.intermediate_values, default=0)
            if isinstance(seconds, int | float) and seconds > 0.0 and epochs > 0:
                size = value_of(trial.params, "image_size")
                size_cost = POWERS["image_size"] * math.log(float(size)) if size is not None else 0.0
                costs = by_backbone.setdefault(value_of(trial.params, BACKBONE), [])
                costs.append(math.log(seconds / epochs) - size_cost)
        all_costs = [cost for costs in by_backbone.values() for cost in costs]
        self._mean = float(np.mean(all_costs)) if all_costs else 0.0
        # Shrinkage: a single measurement may be an outlier, so the mean of all trials counts as one more trial.
        self._by_backbone = {
            backbone: (sum(costs) + self._mean) / (len(costs) + 1) for backbone, costs in by_backbone.items()
        }

    def log_seconds(self, params: Mapping[str, Any]) -> float:
        """The logarithm of the training time of a trial with these parameters, by name. Missing ones count nothing."""
        cost = self._by_backbone.get(value_of(params, BACKBONE), self._mean)
        for name, power in POWERS.items():
            value = value_of(params, name)
            cost += power * math.log(float(value)) if value is not None else 0.0
        return cost


class CostAwareTPESampler(TPESampler):
    """Optuna's multivariate, grouped TPE with constant liar, with expected improvement per power of training time."""

    def __init__(self, *, seed: int, startup_trials: int, trials: int) -> None:
        """
        Args:
            startup_trials: number of random trials before the model is used.
            trials: number of trials of the whole study; from then on training time does not count.
        """
        with warnings.catch_warnings():
            # Optuna 5 marks ``group`` and ``constant_liar`` as experimental. Both were measured to work.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                seed=seed, n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True
            )
        self._trials = max(1, trials)
        self._space: Mapping[str, BaseDistribution] = {}
        self._time_model = TrainingTimeModel([])
        self._good_share, self._cost_exponent = 1.0, 0.0

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._space, self._cost_exponent = search_space, 0.0
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        ended = study._get_trials(deepcopy=False, states=states, use_cache=True)
        # TPE counts a single trial among the good ones. Without bad ones the expected improvement is constant.
        if len(ended) > 1 and any(field_of(name) in (BACKBONE, *POWERS) for name in search_space):
            self._time_model = TrainingTimeModel(ended)
            self._good_share = default_gamma(len(ended)) / len(ended)
            self._cost_exponent = COST_EXPONENT * max(0.0, 1.0 - len(ended) / self._trials)
        return super()._sample(study, trial, search_space)

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[Any]], mpe_below: _ParzenEstimator, mpe_above: _ParzenEstimator
    ) -> NDArray[np.float64]:
        ratio = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        if self._cost_exponent == 0.0:
            return ratio
        # Bergstra et al.: the expected improvement is proportional to 1 / (share + (1 - share) bad / good), where share
        # is that of the good trials, and `ratio` is log(good / bad).
        log_improvement = -np.logaddexp(np.log(self._good_share), np.log1p(-self._good_share) - ratio)
        log_costs = [
            self._time_model.log_seconds(
                {name: self._space[name].to_external_repr(values[i]) for name, values in samples.items()}
            )
            for i in range(len(ratio))
        ]
        return np.asarray(log_improvement - self._cost_exponent * np.array(log_costs))
