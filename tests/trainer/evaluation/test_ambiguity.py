"""Expected Brier score of an average of networks, from the predictions of each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.evaluation.ambiguity import LEAST_IMAGES, ambiguity, brier_scores, expected_average
from trainer.evaluation.targets import Targets, mean_over
from trainer.evaluation.temperature_scaling import scale_temperature


def networks(
    count: int, images: int, *, seed: int = 0, certainty: float = 1.0, noise: float = 1.0
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Labels, and predictions that share what makes an image hard and differ by ``noise`` of their own."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 5, images)
    common = generator.normal(0.0, 1.0, (images, 5)) + 1.5 * np.eye(5)[y]
    drawn = [certainty * (common + noise * generator.normal(0.0, 1.0, (images, 5))) for _ in range(count)]
    powers = [np.exp(logits - logits.max(axis=1, keepdims=True)) for logits in drawn]
    return y, [(power / power.sum(axis=1, keepdims=True)).astype(np.float32) for power in powers]


def test_brier_scores_run_from_certain_and_right_to_certain_and_wrong() -> None:
    y = np.array([0, 0, 0])
    proba = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(brier_scores(y, proba), [0.0, 0.5, 2.0])


@given(count=st.integers(1, 6), images=st.integers(1, 40), seed=st.integers(0, 2**16))
def test_the_brier_score_of_an_average_is_the_mean_one_less_the_ambiguity(count: int, images: int, seed: int) -> None:
    y, drawn = networks(count, images, seed=seed)
    own = np.mean([brier_scores(y, proba).mean() for proba in drawn])
    together = brier_scores(y, np.mean(drawn, axis=0, dtype=np.float64)).mean()
    assert together == pytest.approx(own - ambiguity(drawn), abs=1e-6)


def test_one_network_and_equal_ones_have_no_ambiguity() -> None:
    _, (alone,) = networks(1, 30)
    assert ambiguity([alone]) == 0.0 == ambiguity([alone, alone, alone])


@pytest.mark.parametrize("certainty", [0.4, 1.0, 3.0])
def test_what_is_expected_of_an_average_comes_true_on_new_images(certainty: float) -> None:
    y, drawn = networks(5, 20_000, certainty=certainty)
    held_out, new = slice(0, 10_000), slice(10_000, 20_000)
    found = expected_average(Targets(y[held_out]), drawn[0][held_out], [proba[new] for proba in drawn])
    tempered = [scale_temperature(proba[new], found.temperature) for proba in drawn]
    truth = brier_scores(y[new], np.mean(tempered, axis=0)).mean()
    assert found.brier == pytest.approx(truth, abs=0.015)
    assert found.ambiguity > 0.03


def test_how_sure_networks_say_they_are_changes_nothing() -> None:
    y, drawn = networks(5, 2000)
    told = [
        expected_average(Targets(y), scale_temperature(drawn[0], t), [scale_temperature(proba, t) for proba in drawn])
        for t in (0.5, 1.0, 2.0)
    ]
    assert np.ptp([average.brier for average in told]) < 0.002
    assert np.ptp([average.ambiguity for average in told]) < 0.002
    assert told[0].temperature > told[1].temperature > told[2].temperature


def test_averages_want_surer_members_than_one_network_alone_would_be() -> None:
    y, drawn = networks(5, 2000, noise=1.5)
    alone, average = (expected_average(Targets(y), drawn[0], members) for members in ([], drawn))
    assert average.temperature < alone.temperature
    assert average.brier < alone.brier and alone.ambiguity == 0.0


def test_networks_that_differ_more_gain_more() -> None:
    y, same = networks(5, 1000, noise=0.3)
    _, different = networks(5, 1000, noise=2.0)
    assert ambiguity(different) > 2 * ambiguity(same)
    assert (
        expected_average(Targets(y), same[0], same).ambiguity
        < expected_average(Targets(y), different[0], different).ambiguity
    )


def test_too_few_images_predict_no_gain_from_averaging() -> None:
    y, drawn = networks(5, 200, noise=2.0)

    def on(images: int) -> float:
        return expected_average(Targets(y), drawn[0], [proba[:images] for proba in drawn]).ambiguity

    assert on(1) == on(LEAST_IMAGES - 1) == 0.0 < on(LEAST_IMAGES)


def test_no_more_than_all_errors_can_be_scatter() -> None:
    y, drawn = networks(3, 300, noise=3.0)
    right = np.eye(5)[y].astype(np.float32) * 0.9 + 0.02
    found = expected_average(Targets(y), right, drawn)
    own = brier_scores(y, scale_temperature(right, found.temperature)).mean()
    assert found.ambiguity == pytest.approx(own * 2 / 3)
    assert found.brier == pytest.approx(own / 3)


def test_images_count_by_their_weights() -> None:
    y, drawn = networks(3, 400)
    weights = np.where(np.arange(400) < 100, 5.0, 1e-9)
    weighted, part = (
        expected_average(Targets(y, weights), drawn[0], drawn),
        expected_average(Targets(y[:100]), drawn[0][:100], drawn),
    )
    assert weighted.temperature == pytest.approx(part.temperature, rel=1e-4)
    assert weighted.brier == pytest.approx(part.brier, abs=1e-6)
    own = mean_over(brier_scores(y, scale_temperature(drawn[0], weighted.temperature)), weights)
    assert weighted.brier == pytest.approx(own - weighted.ambiguity, abs=1e-6)
