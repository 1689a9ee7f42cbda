"""Sampling of a recipe: Optuna suggests a value for every active dimension of the search space, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.study_state.optuna_attributes import PROBE_ATTRIBUTE, PROBE_SIZE_ATTRIBUTE
from search.tuning.probing.plan import as_probe
from storage.optuna_storage.optuna_trials import FIXED_PARAMS
from studies.space.dimension import Dimension, choose, field_of
from studies.spec import StudySpec
from trainer.recipe.recipe import Recipe, Scalar


def distribution_of(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    """The Optuna distribution of one of `Dimension.parameters`."""
    assert dimension.off is None, "a range that can be off is two parameters"
    if dimension.choices is not None:
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    low, high = dimension.low, dimension.high
    assert low is not None and high is not None, "a dimension without choices has a range"
    if dimension.integer:
        step = int(dimension.step) if dimension.step else 1
        return optuna.distributions.IntDistribution(int(low), int(high), log=dimension.log, step=step)
    return optuna.distributions.FloatDistribution(low, high, log=dimension.log, step=dimension.step)


def sample(trial: optuna.Trial, spec: StudySpec) -> Recipe:
    """Sample a recipe: Optuna suggests the active dimensions, the study fixes the other settings.

    Values that the trial has already (trial 0, a trial of another worker) are used again. The recipe of a probe is the
    linear probe of its backbone.
    """
    params = choose(spec.space, spec.recipe, lambda parameter: _suggest(trial, parameter))
    recipe = Recipe.from_flat(spec.assemble(params))
    if PROBE_ATTRIBUTE not in trial.user_attrs:
        return recipe
    return as_probe(recipe, trial.user_attrs.get(PROBE_SIZE_ATTRIBUTE))


def value_of(params: Mapping[str, Any], field: str) -> Any:
    """Value of the parameter that sets a recipe field, among parameters by name; None if none sets it."""
    return next((value for name, value in params.items() if field_of(name) == field), None)


def sampled_value(trial: FrozenTrial, field: str) -> Any:
    """Value of the parameter that sets a recipe field in a trial, which may wait; None if none sets it."""
    return value_of({**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}, field)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Scalar:
    distribution = distribution_of(dimension)
    match distribution:
        case optuna.distributions.CategoricalDistribution():
            value: Scalar = trial.suggest_categorical(dimension.name, distribution.choices)  # type: ignore[assignment]
        case optuna.distributions.IntDistribution():
            value = trial.suggest_int(
                dimension.name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        case optuna.distributions.FloatDistribution():
            value = trial.suggest_float(
                dimension.name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
            )
        case _:
            raise AssertionError(f"no dimension has the distribution {type(distribution).__name__}")
    return value
