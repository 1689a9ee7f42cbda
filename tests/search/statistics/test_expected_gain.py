"""Expected gain of another trial and of another training, against simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.statistics.expected_gain import LEAST_TRIALS, gain_of_training, gain_of_trial, resampled_gain


def test_few_trials_say_nothing_about_the_next_one() -> None:
    assert gain_of_trial([0.5] * (LEAST_TRIALS - 1), [0.0] * (LEAST_TRIALS - 1)) == math.inf


@pytest.mark.parametrize("n", [3, 5, 10, 40])
def test_the_gain_of_a_trial_is_that_of_random_search(n: int) -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.05, (20_000, n + 1))
    measured = float(np.mean(draws.max(axis=1) - draws[:, :n].max(axis=1)))
    expected = float(np.mean([gain_of_trial(row[:n].tolist(), [0.0] * n) for row in draws[:2000]]))
    # The standard deviation of few draws is too small on average: 0.89 of the true one for three.
    assert expected == pytest.approx(measured, rel=0.15)


def test_scores_that_differ_by_their_sampling_error_alone_promise_nothing() -> None:
    scores = np.random.default_rng(0).normal(0.7, 0.02, 200)
    assert gain_of_trial(scores.tolist(), [0.03] * 200) == 0.0


@given(gain=st.floats(0.0, 0.2), networks=st.integers(2, 10), trainings=st.integers(1, 20))
def test_every_training_gains_less_than_the_one_before(gain: float, networks: int, trainings: int) -> None:
    here, later = (gain_of_training(gain, networks, count) for count in (trainings, trainings + 1))
    assert 0.0 <= later <= here + 1e-12
    total = gain + sum(gain_of_training(gain, networks, count) for count in range(1, 200))
    assert total <= gain / (1 - 1 / networks) ** 1.25 + 1e-9, "never more than infinitely many networks"


@pytest.mark.parametrize("n", [10, 40])
def test_the_gain_of_several_trials_is_that_of_random_search(n: int) -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.05, (20_000, n + 10))
    measured = float(np.mean(draws.max(axis=1) - draws[:, :n].max(axis=1)))
    expected = float(np.mean([gain_of_trial(row[:n].tolist(), [0.0] * n, 10) for row in draws[:2000]]))
    assert expected == pytest.approx(measured, rel=0.1)


def test_the_resampled_gain_is_that_of_a_simulated_bootstrap() -> None:
    draws = np.random.default_rng(0)
    scores = draws.beta(8, 2, 12)
    samples = draws.choice(scores, (100_000, 22))
    measured = float(np.mean(samples.max(axis=1) - samples[:, :12].max(axis=1)))
    assert resampled_gain(scores.tolist(), [0.0] * 12, 10) == pytest.approx(measured, rel=0.03)


@given(
    scores=st.lists(st.floats(0.0, 1.0), min_size=LEAST_TRIALS, max_size=40),
    error=st.floats(0.0, 0.2),
    further=st.integers(0, 30),
)
def test_more_trials_never_gain_less(scores: list[float], error: float, further: int) -> None:
    errors = [error] * len(scores)
    for gain in (gain_of_trial, resampled_gain):
        assert 0.0 <= gain(scores, errors, further) <= gain(scores, errors, further + 1) + 1e-12
    assert resampled_gain(scores, errors, 0) == 0.0


def test_noise_lowers_the_resampled_gain() -> None:
    scores = np.random.default_rng(0).normal(0.7, 0.02, 50).tolist()
    without, with_noise = (resampled_gain(scores, [error] * 50, 10) for error in (0.0, 0.01))
    assert 0.0 < with_noise < without
    assert resampled_gain(scores, [0.05] * 50, 10) == 0.0
