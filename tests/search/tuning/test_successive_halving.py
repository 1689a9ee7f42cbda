"""Successive halving: which trials survive a rung, and which are never judged."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.tuning.successive_halving import SuccessiveHalving


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=SuccessiveHalving(startup_trials=3))


def report(study: optuna.Study, values: list[float], epochs: int = 12) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr(EPOCHS_ATTRIBUTE, epochs)
    for epoch, value in enumerate(values, start=1):
        trial.report(value, step=epoch)
    return trial


def test_the_worse_half_stops_once_enough_trials_have_reported(study: optuna.Study) -> None:
    assert [report(study, [value]).should_prune() for value in (0.5, 0.6, 0.4, 0.7, 0.55, 0.1)] == [
        False,  # trial 0
        False,  # two reported: too few to judge
        True,  # 0.4 is the worst of three
        False,
        False,  # third of five
        True,
    ]


def test_trial_zero_is_never_pruned(study: optuna.Study) -> None:
    first = report(study, [0.01])
    for value in (0.5, 0.6, 0.7, 0.8):
        report(study, [value])
    assert not first.should_prune()


def test_trials_of_another_length_are_not_rivals(study: optuna.Study) -> None:
    for value in (0.9, 0.9, 0.9, 0.9):
        report(study, [value], epochs=40)
    assert not report(study, [0.1], epochs=12).should_prune()


def test_failed_trials_are_not_rivals(study: optuna.Study) -> None:
    for value in (0.9, 0.9, 0.9, 0.9):
        study.tell(report(study, [value]), state=optuna.trial.TrialState.FAIL)
    assert not report(study, [0.1]).should_prune()


def test_no_trial_stops_between_rungs_or_at_the_last_epoch(study: optuna.Study) -> None:
    for _ in range(5):
        report(study, [0.9] * 8, epochs=8)
    assert SuccessiveHalving().rungs(8) == [1, 2, 4]
    assert not report(study, [0.1] * 3, epochs=8).should_prune()
    assert report(study, [0.1] * 4, epochs=8).should_prune()
    assert not report(study, [0.1] * 8, epochs=8).should_prune()


def test_there_are_no_rungs_beyond_the_last_rung() -> None:
    pruner = SuccessiveHalving(reduction_factor=3, last_rung=0.5)
    assert {epochs: pruner.rungs(epochs) for epochs in (1, 2, 5, 6, 12, 18)} == {
        1: [],
        2: [1],
        5: [1],
        6: [1, 3],
        12: [1, 3],
        18: [1, 3, 9],
    }


@given(st.integers(1, 300), st.integers(1, 5), st.integers(2, 6), st.floats(0.01, 1.0))
def test_the_last_rung_only_removes_later_rungs(epochs: int, first: int, factor: int, last: float) -> None:
    every = SuccessiveHalving(min_epochs=first, reduction_factor=factor).rungs(epochs)
    some = SuccessiveHalving(min_epochs=first, reduction_factor=factor, last_rung=last).rungs(epochs)
    assert some == every[: len(some)]
    assert all(rung <= last * epochs + 1e-6 for rung in some)
    assert all(rung > last * epochs - 1e-6 for rung in every[len(some) :])


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_last_rung_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="last_rung above 0 and at most 1"):
        SuccessiveHalving(last_rung=share)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.integers(2, 5))
def test_the_best_always_survives_and_survivors_are_the_top_share(rivals: list[float], own: float, factor: int) -> None:
    pruner = SuccessiveHalving(reduction_factor=factor, startup_trials=2)
    assert pruner.survives(max([*rivals, own]), rivals)
    values = [*rivals, own]
    kept = [v for i, v in enumerate(values) if pruner.survives(v, values[:i] + values[i + 1 :])]
    share = -(-len(values) // factor)
    assert len(kept) >= share, "ties pass"
    assert len({*kept}) <= share
    assert min(kept) >= max((v for v in values if v not in kept), default=0.0)
