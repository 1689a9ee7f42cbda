"""Forecasts: what averaging adds, and intervals that hold as often as they say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.statistics.paired_gain import Gain
from search.statistics.ranking import averaging_gain
from search.statistics.score_forecast import (
    AVERAGING_ERROR,
    LEVEL,
    NO_AVERAGING,
    NOTHING,
    Averaging,
    Forecast,
    averaging_of,
    equal_trainings,
    forecast,
    gain_across_trainings,
    gain_within,
)
from trainer.evaluation.ambiguity import expected_average
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets

IMAGES, CLASSES = 500, 5


def made(**changes: object) -> Forecast:
    given = {
        "single": 0.6,
        "single_error": 0.02,
        "sampling_error": 0.02,
        "averaging": NO_AVERAGING,
        "networks": 5,
        "trainings": 1,
        "metric": "accuracy",
        "train_images": 600,
        "test_images": 400,
        "chances": {},
    }
    return forecast(**{**given, **changes})  # type: ignore[arg-type]


def networks(count: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels, and predictions that share what makes an image hard and differ in noise of their own."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, CLASSES, IMAGES)
    common = generator.normal(0.0, 1.0, (IMAGES, CLASSES)) + 1.2 * np.eye(CLASSES)[y]
    drawn = []
    for _ in range(count):
        powers = np.exp(common + generator.normal(0.0, noise, (IMAGES, CLASSES)))
        drawn.append((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    return y, drawn


def added(*, within: float = 0.0, between: float = 0.0) -> Averaging:
    """What averaging adds, with a standard error of a quarter of it."""
    return Averaging(within=Gain(mean=within, error=within / 4), between=Gain(mean=between, error=between / 4))


def test_two_cross_validations_foretell_what_five_networks_gain() -> None:
    predicted, gained = [], []
    for seed in range(20):
        y, drawn = networks(5, seed)
        found = averaging_of(None, gain_across_trainings([[drawn[:2]]], Targets(y), "accuracy"))
        predicted.append(found.of(5, 1).mean)
        single = np.mean([score("accuracy", Targets(y), proba) for proba in drawn])
        gained.append(score("accuracy", Targets(y), np.mean(drawn, axis=0)) - single)
    assert np.mean(gained) > 0.04
    assert np.mean(predicted) == pytest.approx(np.mean(gained), abs=0.01)


def test_how_much_networks_differ_foretells_what_averaging_them_gains() -> None:
    predicted, gained = [], []
    for seed in range(20):
        y, drawn = networks(5, seed, noise=0.7)
        single = float(np.mean([score("accuracy", Targets(y), proba) for proba in drawn]))
        found = expected_average(Targets(y), drawn[0], drawn)
        within = gain_within([averaging_gain("accuracy", single, found.brier, found.ambiguity)], 5)
        predicted.append(averaging_of(within, None).of(5, 1).mean)
        gained.append(score("accuracy", Targets(y), np.mean(drawn, axis=0)) - single)
    wrong = np.subtract(predicted, gained)
    assert abs(wrong.mean()) < AVERAGING_ERROR * np.mean(gained), "within the error that is reckoned with"


def test_the_error_of_the_gain_is_that_over_images() -> None:
    gains = []
    for seed in range(40):
        y, drawn = networks(2, seed)
        gain = gain_across_trainings([[drawn]], Targets(y), "accuracy")
        assert gain is not None
        gains.append(gain)
    assert np.mean([gain.error for gain in gains]) == pytest.approx(np.std([gain.mean for gain in gains]), rel=0.4)


def test_one_cross_validation_says_nothing_of_averaging() -> None:
    y, drawn = networks(1)
    assert (
        gain_across_trainings([[drawn]], Targets(y), "accuracy")
        is None
        is gain_across_trainings([], Targets(y), "accuracy")
    )
    assert averaging_of(None, None) == NO_AVERAGING


def test_recipes_count_the_same_however_often_they_were_trained() -> None:
    assert equal_trainings([3]) == 3 == equal_trainings([1, 1, 1])
    assert equal_trainings([2, 1]) == pytest.approx(4 / 1.5)
    y, (one, again, other) = networks(3)
    gain = gain_across_trainings([[[one, again], [other]]], Targets(y), "accuracy")
    assert gain is not None
    single = np.mean(
        [np.mean([score("accuracy", Targets(y), p) for p in (one, again)]), score("accuracy", Targets(y), other)]
    )
    together = score("accuracy", Targets(y), (np.mean([one, again], axis=0) + other) / 2)
    assert together - single > 0.02
    assert averaging_of(None, gain).of(equal_trainings([2, 1]), 1).mean == pytest.approx(together - single)


def test_nothing_is_told_of_what_is_not_known() -> None:
    known = gain_within([0.03, 0.05], 5)
    assert known is not None and known.error == pytest.approx(AVERAGING_ERROR * known.mean)
    assert averaging_of(known, None).of(5, 1).mean == pytest.approx(0.04)
    assert gain_within([0.04, None], 5) is None, "one of them held nothing out"
    assert gain_within([0.04], 1) is None, "one network is averaged with nobody"


def test_averaging_adds_nothing_to_one_network_and_all_to_many() -> None:
    averaging = added(within=0.04)
    assert averaging.of(1, 1) == NOTHING
    halves = averaging.of(2, 1)
    assert 0.01 < halves.mean < 0.02 and halves.error == pytest.approx(halves.mean / 4)
    assert averaging.of(1e9, 1).mean == pytest.approx(0.04)
    assert made(averaging=averaging, networks=5).expected == pytest.approx(0.6 + averaging.of(5, 1).mean)


def test_further_trainings_add_what_their_networks_alone_do_not() -> None:
    averaging = averaging_of(Gain(mean=0.04, error=0.0), Gain(mean=0.07, error=0.01))
    assert averaging.of(5, 1).mean == added(within=0.04).of(5, 1).mean, "one training: its own networks alone"
    assert averaging.of(1e9, 1e9).mean == pytest.approx(0.07)
    smaller = averaging_of(Gain(mean=0.04, error=0.0), Gain(mean=0.03, error=0.01))
    assert smaller.between.mean == 0.0, "networks of several trainings do not differ less than those of one"


@given(single=st.floats(0.0, 1.0), rule=st.floats(0.0, 1.0), share=st.floats(0.0, 1.0), networks=st.floats(1.0, 1e6))
def test_averaging_lowers_what_a_label_rule_has_left_by_the_same_share(
    single: float, rule: float, share: float, networks: float
) -> None:
    missing = 1.0 - single
    averaging = added(within=share * missing)
    after = averaging.after(rule * missing, missing)
    left = missing - rule * missing
    assert after.within.mean == pytest.approx(share * left, abs=1e-9)
    result = made(single=1.0 - left, averaging=after, networks=networks, metric="macro_f1")
    assert result.single + result.averaging <= 1.0 + 1e-9
    assert result.expected == pytest.approx(result.single + result.averaging)


def test_a_rule_that_gains_nothing_changes_no_gain_from_averaging() -> None:
    averaging = added(within=0.04, between=0.01)
    assert averaging.after(0.0, 0.3) == averaging.after(-0.01, 0.3) == averaging.after(0.1, 0.0) == averaging
    assert averaging.after(0.3, 0.3).of(5, 2) == NOTHING


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


@pytest.mark.parametrize("single", [1.0, 0.97, 0.0])
def test_where_every_image_was_right_the_interval_is_that_of_a_share(single: float) -> None:
    """60 of 60 right images have no scatter, and a share of up to 5 % wrong ones is still likely (rule of three)."""
    found = made(single=single, single_error=0.0, sampling_error=0.0, train_images=60, test_images=1500)
    assert 0.02 < found.high - found.low < 0.12 and found.low <= single <= found.high
