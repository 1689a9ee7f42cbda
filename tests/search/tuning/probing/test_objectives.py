"""Samplers maximise the objective of the search, although the value of a trial in Optuna is the study's metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, OBJECTIVE_ATTRIBUTE, SECONDS_ATTRIBUTE
from search.tuning.probing.sampler import ProbedSampler
from search.tuning.samplers import SAMPLERS, make_sampler
from studies.spec import SearchSettings

TRIALS = 24


def run(sampler: str, *, shown: str) -> list[dict[str, Any]]:
    """The proposals of a study whose values are the objective, or the metric with the objective as an attribute."""
    study = optuna.create_study(
        direction="maximize",
        sampler=ProbedSampler(
            make_sampler(SearchSettings(sampler=sampler), seed=7, budget=TRIALS), dict, seed=7, pausing=sampler == "tpe"
        ),
    )
    noise = np.random.default_rng(0)
    for number in range(TRIALS):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        rotate = trial.suggest_float("augment.rotate", 0.0, 15.0)
        objective = float(-((np.log10(lr) + 2.0) ** 2) - 0.01 * rotate)
        metric = round(objective + float(noise.normal()), 2)
        for epoch in (1, 2):
            trial.report(objective * epoch, epoch)
        trial.set_user_attr(EPOCHS_ATTRIBUTE, 2)
        trial.set_user_attr(SECONDS_ATTRIBUTE, 1.0)
        if number % 4 == 3:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        if shown == "metric":
            trial.set_user_attr(OBJECTIVE_ATTRIBUTE, objective)
        study.tell(trial, metric if shown == "metric" else objective)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_those_of_a_study_whose_values_are_the_objective(sampler: str) -> None:
    assert run(sampler, shown="metric") == run(sampler, shown="objective")


def test_the_study_itself_keeps_the_metric_as_its_value() -> None:
    sampler = ProbedSampler(make_sampler(SearchSettings(), seed=1, budget=9), dict, seed=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(9):
        trial = study.ask()
        trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        trial.set_user_attr(OBJECTIVE_ATTRIBUTE, 0.5)
        study.tell(trial, number / 10)
    assert [trial.value for trial in study.trials] == [number / 10 for number in range(9)]
