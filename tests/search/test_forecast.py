"""Forecasts: what averaging adds, and intervals that hold as often as they say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.forecast import LEVEL, NO_AVERAGING, Averaging, Forecast, averaging_gain, forecast
from trainer.metrics import score

IMAGES, CLASSES = 500, 5


def made(**changes: object) -> Forecast:
    given = {
        "single": 0.6,
        "single_error": 0.02,
        "sampling_error": 0.02,
        "averaging": NO_AVERAGING,
        "networks": 5,
        "metric": "accuracy",
        "train_images": 600,
        "test_images": 400,
        "chances": {},
    }
    return forecast(**{**given, **changes})  # type: ignore[arg-type]


def networks(count: int, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels, and predictions that share what makes an image hard and differ in noise of their own."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, CLASSES, IMAGES)
    common = generator.normal(0.0, 1.0, (IMAGES, CLASSES)) + 1.2 * np.eye(CLASSES)[y]
    drawn = []
    for _ in range(count):
        powers = np.exp(common + generator.normal(0.0, 1.0, (IMAGES, CLASSES)))
        drawn.append((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    return y, drawn


def test_two_cross_validations_foretell_what_five_networks_gain() -> None:
    predicted, gained = [], []
    for seed in range(20):
        y, drawn = networks(5, seed)
        predicted.append(averaging_gain([drawn[:2]], y, "accuracy").of(5).full_gain)
        single = np.mean([score("accuracy", y, proba) for proba in drawn])
        gained.append(score("accuracy", y, np.mean(drawn, axis=0)) - single)
    assert np.mean(gained) > 0.04
    assert np.mean(predicted) == pytest.approx(np.mean(gained), abs=0.02), (
        "accuracy goes up a little faster than 1 - 1 / N"
    )


def test_the_error_of_the_gain_is_that_over_images() -> None:
    gains, errors = [], []
    for seed in range(40):
        y, drawn = networks(2, seed)
        averaging = averaging_gain([drawn], y, "accuracy")
        gains.append(averaging.full_gain)
        errors.append(averaging.error)
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.4)


def test_one_cross_validation_says_nothing_of_averaging() -> None:
    y, drawn = networks(1)
    assert averaging_gain([drawn], y, "accuracy") == NO_AVERAGING == averaging_gain([], y, "accuracy")


def test_averaging_adds_nothing_to_one_network_and_all_to_many() -> None:
    averaging = Averaging(full_gain=0.04, error=0.01)
    assert averaging.of(1) == NO_AVERAGING
    assert averaging.of(2) == Averaging(full_gain=0.02, error=0.005)
    assert made(averaging=averaging, networks=5).expected == pytest.approx(0.6 + 0.04 * 0.8)


def test_intervals_hold_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    truth, n, m = 0.62, 650, 100
    held = []
    for _ in range(2000):
        seen = generator.binomial(n, truth) / n
        error = math.sqrt(seen * (1 - seen) / n)
        told = made(single=seen, single_error=error, sampling_error=error, train_images=n, test_images=m)
        held.append(told.low <= generator.binomial(m, truth) / m <= told.high)
    assert np.mean(held) == pytest.approx(LEVEL, abs=0.025)


@given(
    single=st.floats(0.0, 1.0),
    error=st.floats(0.0, 0.3),
    metric=st.sampled_from(["accuracy", "roc_auc", "qwk"]),
    images=st.integers(1, 5000),
)
def test_bounds_of_a_metric_are_never_passed(single: float, error: float, metric: str, images: int) -> None:
    told = made(single=single, single_error=error, sampling_error=error, metric=metric, test_images=images)
    low = -1.0 if metric == "qwk" else 0.0
    assert low <= told.low <= told.expected <= told.high <= 1.0
    json.dumps(told.to_json(), allow_nan=False)


def test_more_test_images_make_it_surer_and_none_wrong_is_not_certain() -> None:
    few, many = made(test_images=50), made(test_images=5000)
    assert many.high - many.low < few.high - few.low and many.error == few.error
    assert made(single=1.0, single_error=0.01, sampling_error=0.01).low < 1.0


def test_log_loss_has_one_bound() -> None:
    told = made(metric="log_loss", single=-0.02, single_error=0.05, sampling_error=0.05)
    assert told.high == 0.0 and told.low < -0.09
