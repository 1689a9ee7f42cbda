"""Adversarial validation: planted shifts are found, and none without a difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from trainer.common.arrays import Float64Array
from trainer.shift.adversarial import CLIP, MIN_IMAGES, TooFewImages, importance_weights, measure_shift, shifted_classes


def draw(
    n: int, m: int, columns: int, shifted: int = 0, by: float = 0.0, seed: int = 0
) -> tuple[Float64Array, Float64Array]:
    """Normal features; the first ``shifted`` columns of the test images are higher."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, columns)), rng.normal(size=(m, columns)) + by * (np.arange(columns) < shifted)


def alone(n: int) -> NDArray[np.int64]:
    """Every image in a group of its own."""
    return np.arange(n)


def test_what_is_alike_is_not_told_apart() -> None:
    """More features than images: without a strong prior the probabilities would be near 0 and 1."""
    areas = []
    for seed in range(3):
        train, test = draw(150, 100, 400, seed=seed)
        shift = measure_shift(train, test, alone(250))
        areas.append((shift.auc - 0.5) / shift.standard_error)
        weights, effective = importance_weights(shift.train, 100)
        assert effective > 0.9 * 150, "noise makes no weights"
        assert weights.max() < 2
    assert np.abs(areas).max() < 3


def test_a_shift_is_found_and_weights_mend_it() -> None:
    train, test = draw(400, 300, 30, shifted=3, by=0.7)
    shift = measure_shift(train, test, alone(700))
    assert 0.7 < shift.auc < 0.9
    assert 0.01 < shift.standard_error < 0.03
    assert shift.test.mean() > shift.train.mean()
    weights, effective = importance_weights(shift.train, len(test))
    assert 50 < effective < 350
    unweighted, weighted = train[:, :3].mean(), (weights[:, None] * train[:, :3]).mean()
    assert abs(weighted - 0.7) < 0.5 * abs(unweighted - 0.7), "weighted training images are more like test images"


def test_probabilities_are_calibrated() -> None:
    shift = measure_shift(*draw(400, 200, 200, shifted=10, by=0.5, seed=4), alone(600))
    proba = np.concatenate([shift.train, shift.test])
    assert proba.mean() == pytest.approx(1 / 3, abs=0.01)
    truth = np.repeat([0, 1], [400, 200])
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 1.0)):
        inside = (proba >= low) & (proba < high)
        assert abs(truth[inside].mean() - proba[inside].mean()) < 0.1


def test_the_parts_may_be_turned_round() -> None:
    train, test = draw(120, 120, 10, shifted=2, by=1.0)
    there, back = measure_shift(train, test, alone(240)), measure_shift(test, train, alone(240))
    assert there.auc == pytest.approx(back.auc, abs=0.03)
    again = measure_shift(train, test, alone(240))
    np.testing.assert_array_equal(there.train, again.train)


@pytest.mark.slow
def test_images_in_both_sets_decide_nothing() -> None:
    """Half of the test images are copies. A forest would memorise them if the copies were in different folds."""
    train, test = draw(60, 60, 5)
    test[:30] = train[:30]
    pairs = np.concatenate([alone(60), np.arange(30), np.arange(60, 90)])
    together = measure_shift(train, test, pairs, model="forest")
    assert together.auc < 0.5 + 3 * together.standard_error
    # Each patient has many similar training images in one group, so a forest cannot recognise the patient.
    train = np.repeat(draw(12, 1, 40, seed=1)[0], 10, axis=0) + 0.01 * draw(120, 1, 40, seed=2)[0]
    test = draw(100, 1, 40, seed=3)[0]
    patients = np.concatenate([np.repeat(np.arange(12), 10), np.arange(12, 112)])
    known = measure_shift(train, test, alone(220), model="forest")
    kept = measure_shift(train, test, patients, model="forest")
    assert known.auc > 0.95
    assert kept.auc < 0.8


def test_a_forest_sees_what_has_no_direction() -> None:
    """All test images have the same size, in the middle of the training images' sizes."""
    train = np.random.default_rng(0).integers(1000, 2000, (80, 1)).astype(float)
    test = np.full((80, 1), 1500.0)
    assert measure_shift(train, test, alone(160), model="forest").auc > 0.95
    assert measure_shift(train, test, alone(160)).auc < 0.7


def test_perfectly_apart() -> None:
    shift = measure_shift(*draw(60, 40, 3, shifted=3, by=20.0), alone(100))
    assert shift.auc == 1.0 and shift.standard_error == 0.0
    assert ((shift.train > 0) & (shift.train < 0.1)).all() and ((shift.test < 1) & (shift.test > 0.9)).all()


def test_constant_features_tell_nothing() -> None:
    shift = measure_shift(np.ones((30, 4)), np.ones((60, 4)), alone(90))
    assert shift.auc == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(shift.train, 2 / 3, atol=0.01)


def test_too_few_images_to_tell() -> None:
    with pytest.raises(TooFewImages, match=f"30 training and 19 test images; at least {MIN_IMAGES}"):
        measure_shift(*draw(30, 19, 3), alone(49))
    with pytest.raises(TooFewImages, match="groups"):
        measure_shift(*draw(30, 30, 3), np.zeros(60, np.int64))
    with pytest.raises(TooFewImages, match="one group"):
        measure_shift(*draw(30, 30, 3), np.concatenate([np.zeros(30, np.int64), alone(30) + 1]))


@settings(max_examples=50)
@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-6, 1 - 1e-6)), st.integers(1, 100))
def test_weights(proba: Float64Array, n_test: int) -> None:
    weights, effective = importance_weights(proba, n_test)
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all() and weights.max() / weights.min() <= CLIP[1] / CLIP[0] * (1 + 1e-9)
    assert 1 - 1e-9 <= effective <= len(proba) * (1 + 1e-9)
    order = np.argsort(proba)
    assert (np.diff(weights[order]) >= 0).all(), "the more like test images, the heavier"


def test_the_weight_is_the_ratio_of_densities() -> None:
    """Two training images for each test image: an image as likely in either set has the probability 1/3."""
    weights, effective = importance_weights(np.array([1 / 3, 1 / 3, 1 / 2, 1 / 5]), 2)
    np.testing.assert_allclose(weights / weights[0], [1, 1, 2, 0.5])
    assert effective == pytest.approx(4.5**2 / (1 + 1 + 4 + 0.25))


def test_shifted_classes() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    assert shifted_classes(y, rng.random(600)) == ()
    proba = np.where(y == 2, 0.5, 0.0) + rng.random(600)
    most, *rest = shifted_classes(y, proba)
    assert most.class_index == 2 and most.share > 0.4 and 0.2 < most.overall < 0.3
    assert all(shifted.share < shifted.overall for shifted in rest)
