"""Importance of sampled settings: the one that decides is found, noise is not, and few trials say nothing."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from search.page.sections.importance import LEAST_TRIALS, importances


def trials_of(n: int, effect: float, seed: int = 0) -> list[FrozenTrial]:
    """Trials whose value depends on ``rate`` where the optimizer is ``a``, and never on ``other``."""
    draws, found = np.random.default_rng(seed), []
    for number in range(n):
        optimizer = str(draws.choice(["a", "b"]))
        params = {"optimizer": optimizer, f"rate@{optimizer}": float(10 ** draws.uniform(-3, -1))}
        params |= {"other": float(draws.random()), "constant": "x"}
        distributions: dict[str, BaseDistribution] = {
            "optimizer": CategoricalDistribution(["a", "b"]),
            f"rate@{optimizer}": FloatDistribution(1e-3, 1e-1, log=True),
            "other": FloatDistribution(0.0, 1.0),
            "constant": CategoricalDistribution(["x"]),
        }
        rate = math.log10(params[f"rate@{optimizer}"])  # type: ignore[arg-type]
        value = 0.7 + draws.normal(0.0, 0.01) - effect * (rate + 2.0) ** 2 * (optimizer == "a")
        value -= 0.5 * effect * (optimizer == "b")
        trial = create_trial(params=params, distributions=distributions, value=value)
        trial.number = number
        found.append(trial)
    return found


def test_the_setting_that_decides_is_found() -> None:
    found = importances(trials_of(120, effect=0.2))
    assert found[0].parameter == "rate@a" and found[0].matters
    by_name = {row.parameter: row for row in found}
    assert not by_name["other"].matters and by_name["other"].share < 0.1
    assert "constant" not in by_name, "a setting with one value has no importance"
    assert sum(row.share for row in found) == pytest.approx(1.0)
    assert all(0.0 <= row.low <= row.share <= row.high <= 1.0 for row in found)


def test_noise_seldom_matters() -> None:
    matters = [row.matters for seed in range(6) for row in importances(trials_of(40, effect=0.0, seed=seed))]
    assert len(matters) >= 20 and np.mean(matters) <= 0.2


def test_few_trials_say_nothing() -> None:
    assert importances(trials_of(LEAST_TRIALS - 1, effect=0.2)) == []
    assert len(importances(trials_of(LEAST_TRIALS, effect=0.2))) > 1


def test_the_same_trials_give_the_same_numbers() -> None:
    trials = trials_of(30, effect=0.1)
    assert importances(trials) == importances(trials)


def test_equal_scores_break_nothing() -> None:
    trials = trials_of(20, effect=0.0)
    for trial in trials:
        trial.value = 0.5
    assert not any(row.matters for row in importances(trials))


def test_unfinished_trials_and_scores_that_are_not_finite_are_left_out() -> None:
    trials = trials_of(30, effect=0.1)
    trials[3].value = math.inf
    trials.append(create_trial(state=optuna.trial.TrialState.PRUNED, params={}, distributions={}))
    assert len(importances(trials)) == 4
