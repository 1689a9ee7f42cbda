"""A sampler that keeps to the backbones whose probes are not clearly worse, and prefers those with the best probes.

It wraps another sampler. That one never sees probes, because their scores are not those of the recipes that it samples.
It sees a paused trial (`search.tuning.promotion`) as pruned, because it may learn from its scores. The value of a
finished trial, for it, is the objective of the search, which is less noisy than the metric that Optuna's displays show.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import PROBE_ATTRIBUTE, objective_of_trial
from studies.space.dimension import field_of

BACKBONE = "backbone"
UNPROBED = 1.0
"""Standard errors that a backbone without a finished probe counts behind the best: not to be probed is not worse."""


class _SeenStudy:
    """A study as the inner sampler sees it."""

    def __init__(self, study: optuna.Study, valued: _Objectives, *, pausing: bool) -> None:
        self._whole, self._valued, self._pausing = study, valued, pausing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        trials = self._whole._get_trials(deepcopy, None if self._pausing else states, use_cache)
        if self._pausing:
            trials = [_as_pruned(trial) for trial in trials]
        return [
            self._valued.of(trial)
            for trial in trials
            if PROBE_ATTRIBUTE not in trial.user_attrs and (states is None or trial.state in states)
        ]


class _Objectives:
    """Finished trials whose value is their objective. Keeps its copies, because a suggestion reads all trials often."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}  # by number: the trial and its copy

    def of(self, trial: FrozenTrial) -> FrozenTrial:
        """A finished trial with its objective as its value; another trial as it is."""
        if trial.state is not TrialState.COMPLETE:
            return trial
        known = self._copies.get(trial.number)
        if known is None or known[0] is not trial:
            known = trial, copy.copy(trial)
            known[1].value = objective_of_trial(trial)
            self._copies[trial.number] = known
        return known[1]


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """A running trial that has reported scores, as if it were pruned; another trial as it is."""
    if trial.state is not TrialState.RUNNING or not trial.intermediate_values:
        return trial
    pruned = copy.copy(trial)
    pruned.state = TrialState.PRUNED
    return pruned


class ProbedSampler(optuna.samplers.BaseSampler):
    """Draws the backbone of a random trial by its probe, and replaces a proposed backbone that is not kept."""

    def __init__(
        self,
        inner: optuna.samplers.BaseSampler,
        distances: Callable[[], Mapping[str, float]],
        *,
        seed: int,
        pausing: bool = False,
    ) -> None:
        """
        Args:
            distances: returns how many standard errors each probed backbone is behind the best, infinite if it is not
                fine-tuned (`search.tuning.probing.backbones.ProbeResults.distances`).
            pausing: whether the study pauses trials.
        """
        self._pausing, self._objectives = pausing, _Objectives()
        self._inner, self._distances, self._generator = inner, distances, np.random.default_rng(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params = dict(self._inner.sample_relative(self._seen(study), trial, search_space))
        for name, distribution in search_space.items():
            names = self._names(distribution) if field_of(name) == BACKBONE else {}
            if names and name in params and params[name] not in names:
                params[name] = self._draw(names)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        names = self._names(param_distribution) if field_of(param_name) == BACKBONE else {}
        if names:
            return self._draw(names)
        return self._inner.sample_independent(self._seen(study), trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(self._seen(study), trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(self._seen(study), trial, state, values)

    def _seen(self, study: optuna.Study) -> optuna.Study:
        return cast(optuna.Study, _SeenStudy(study, self._objectives, pausing=self._pausing))

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()
        self._generator = np.random.default_rng()

    def _names(self, distribution: BaseDistribution) -> dict[str, float]:
        """The backbones among the choices that may be fine-tuned, with their distances; empty before any probe."""
        assert isinstance(distribution, CategoricalDistribution), "backbones are choices"
        known = self._distances()
        distances = {str(name): known.get(str(name), UNPROBED) for name in distribution.choices} if known else {}
        return {name: distance for name, distance in distances.items() if math.isfinite(distance)}

    def _draw(self, names: dict[str, float]) -> str:
        """One of the backbones; each standard error behind the best makes it less probable by a factor of e."""
        weights = np.array([math.exp(-behind) for behind in names.values()])
        return str(self._generator.choice(list(names), p=weights / weights.sum()))
