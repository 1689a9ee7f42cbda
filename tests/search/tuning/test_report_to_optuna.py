"""What Optuna's displays show of a trial: the study's metric, and the facts of one look."""

from __future__ import annotations

import warnings

import optuna
import pytest
from optuna.trial import TrialState

from search.statistics.ranking import objective, objective_name
from search.study_state.optuna_attributes import OBJECTIVE_ATTRIBUTE, objective_of_trial
from search.study_state.study import Study
from storage.stores import Stores
from storage.values import TrialStatus
from tests.databases import DIALECTS
from tests.search.end_trials import end_next


@pytest.mark.parametrize("dialect", DIALECTS, indirect=True)
def test_the_value_is_the_metric_and_the_objective_stands_beside_it(stores: Stores, stored: Study) -> None:
    study = stores.optuna_study("colours")
    assert study.metric_names == ["accuracy"]
    end_next(stores, stored, 0.8)
    end_next(stores, stored, 0.6, TrialStatus.PRUNED)
    end_next(stores, stored, 0.4, TrialStatus.DIVERGED)
    finished, pruned, diverged = stores.optuna_study("colours").get_trials()
    assert (finished.state, finished.value) == (TrialState.COMPLETE, 0.8)
    assert (pruned.state, pruned.value) == (TrialState.PRUNED, 0.6), "the metric, not the probability of pruning"
    assert (diverged.state, diverged.value) == (TrialState.PRUNED, 0.4)
    assert objective_of_trial(finished) == objective("accuracy", 0.8, 0.5) != finished.value
    assert OBJECTIVE_ATTRIBUTE not in pruned.user_attrs


def test_a_study_of_an_earlier_release_goes_on_with_the_objective_as_its_value(stores: Stores, stored: Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        stores.optuna_study("colours").set_metric_names([objective_name("accuracy")])
    end_next(stores, stored, 0.8)
    end_next(stores, stored, 0.6, TrialStatus.PRUNED)
    finished, pruned = stores.optuna_study("colours").get_trials()
    assert finished.value == objective("accuracy", 0.8, 0.5) == objective_of_trial(finished)
    assert pruned.state is TrialState.PRUNED and pruned.value is None, "it has reported nothing"
    finished.user_attrs.pop(OBJECTIVE_ATTRIBUTE)
    assert objective_of_trial(finished) == finished.value, "that release did not write the attribute"


def test_one_look_at_a_trial_says_how_good_it_is_and_why_it_ended(stores: Stores, stored: Study) -> None:
    end_next(stores, stored, 0.8)
    end_next(stores, stored, 0.6, TrialStatus.PRUNED)
    finished, pruned = stores.optuna_study("colours").get_trials()
    looked = {name: finished.user_attrs[name] for name in ("score", "backbone", "minutes", "ended")}
    assert looked == {
        "score": "0.8000 ± 0.0100",
        "backbone": "test_resnet",
        "minutes": 0.0,
        "ended": "finished after 3 of 3 epochs",
    }
    assert pruned.user_attrs["ended"] == "pruned after 3 of 3 epochs"
