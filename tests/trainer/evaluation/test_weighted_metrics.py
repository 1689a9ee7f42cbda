"""Images that count differently: scikit-learn's definitions, and standard errors that know of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.label_rules import fit_cuts, fit_offsets
from trainer.evaluation.metrics import METRICS, Probabilities, metrics_for, score, standard_error
from trainer.evaluation.targets import ImageWeights, Labels, Targets, effective_images, mean_error, mean_over
from trainer.evaluation.temperature_scaling import fit_temperature
from trainer.networks.view_averaging import choose_views

ONE_LABEL = metrics_for(several_labels=False)


def predictions(n: int, classes: int, seed: int, skill: float = 1.0) -> tuple[Labels, Probabilities, ImageWeights]:
    """Labels with every class present, probabilities that know something of them, weights between 0.2 and 5."""
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    logits = generator.normal(size=(n, classes)) + skill * np.eye(classes)[y]
    proba = np.exp(logits)
    return y, (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32), np.exp(generator.uniform(-1.6, 1.6, n))


cases = given(n=st.integers(8, 60), classes=st.integers(2, 5), seed=st.integers(0, 10_000))


def judges(name: str) -> tuple[Callable[..., float], ...]:
    """Those that are quick: a bootstrap is not."""
    return (score, standard_error) if METRICS[name].standard_error is not None else (score,)


@settings(max_examples=25)
@cases
def test_scores_are_scikit_learns(n: int, classes: int, seed: int) -> None:
    y, proba, weights = predictions(n, classes, seed)
    labels = proba.argmax(axis=1)
    columns = [sk.roc_auc_score(y == c, proba[:, c], sample_weight=weights) for c in range(classes)]
    expected = {
        "accuracy": sk.accuracy_score(y, labels, sample_weight=weights),
        "balanced_accuracy": sk.balanced_accuracy_score(y, labels, sample_weight=weights),
        "macro_f1": sk.f1_score(y, labels, average="macro", sample_weight=weights),
        "log_loss": -sk.log_loss(y, proba, labels=list(range(classes)), sample_weight=weights),
        "roc_auc": np.mean(columns),
        "qwk": sk.cohen_kappa_score(y, labels, weights="quadratic", sample_weight=weights),
    }
    assert expected.keys() == set(ONE_LABEL)
    for name, value in expected.items():
        assert score(name, Targets(y, weights), proba) == pytest.approx(value, abs=1e-6), name


@settings(max_examples=20)
@cases
def test_equal_weights_are_no_weights(n: int, classes: int, seed: int) -> None:
    """To the last bit; and weights that are nearly equal give nearly the same."""
    y, proba, weights = predictions(n, classes, seed)
    equal, nearly = np.full(n, weights[0]), 1.0 + 1e-9 * weights
    for name in ONE_LABEL:
        for judge in judges(name):
            plain = judge(name, Targets(y), proba)
            assert judge(name, Targets(y, equal), proba) == plain or math.isnan(plain), name
            assert judge(name, Targets(y, nearly), proba) == pytest.approx(plain, rel=1e-6, abs=1e-7, nan_ok=True), name


@pytest.mark.parametrize("name", [name for name in ONE_LABEL if METRICS[name].standard_error is None])
def test_equal_weights_change_no_bootstrap(name: str) -> None:
    y, proba, _ = predictions(40, 3, 0)
    assert standard_error(name, Targets(y, np.full(40, 0.7)), proba) == standard_error(name, Targets(y), proba)


@settings(max_examples=25)
@cases
def test_an_image_of_weight_two_is_two_images_and_one_of_none_is_not_there(n: int, classes: int, seed: int) -> None:
    y, proba, _ = predictions(n, classes, seed)
    times = np.random.default_rng(seed).integers(0, 4, n)
    times[0] = 1
    rows = np.repeat(np.arange(n), times)
    for name in ONE_LABEL:
        expected = score(name, Targets(y[rows]), proba[rows])
        assert score(name, Targets(y, times.astype(np.float64)), proba) == pytest.approx(
            expected, abs=1e-9, nan_ok=True
        ), name


@settings(max_examples=10)
@cases
def test_neither_order_nor_scale_matters(n: int, classes: int, seed: int) -> None:
    y, proba, weights = predictions(n, classes, seed)
    order = np.random.default_rng(seed).permutation(n)
    for name in ONE_LABEL:
        for judge in judges(name):
            expected = judge(name, Targets(y, weights), proba)
            for found in (
                judge(name, Targets(y[order], weights[order]), proba[order]),
                judge(name, Targets(y, 7.0 * weights), proba),
            ):
                assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), name


def styles(generator: np.random.Generator, n: int) -> tuple[Labels, Probabilities, ImageWeights]:
    """One image in four is of a style that is harder and counts four times as much."""
    y = generator.integers(0, 3, n)
    hard = generator.random(n) < 0.25
    logits = generator.normal(size=(n, 3)) + np.where(hard, 0.5, 2.5)[:, None] * np.eye(3)[y]
    proba = np.exp(logits)
    return y, (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32), np.where(hard, 4.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_LABEL)
def test_standard_errors_foretell_the_spread_over_samples(name: str) -> None:
    generator = np.random.default_rng(0)
    samples = [styles(generator, 200) for _ in range(160)]
    spread = np.std([score(name, Targets(y, weights), proba) for y, proba, weights in samples], ddof=1)
    errors = [standard_error(name, Targets(y, weights), proba) for y, proba, weights in samples[:5]]
    assert 0.8 * spread < np.mean(errors) < 1.25 * spread


def test_the_error_of_weighted_accuracy_covers() -> None:
    """The plain one, which takes all images for equal ones, does not."""
    generator = np.random.default_rng(1)
    y, proba, weights = styles(generator, 400_000)
    true = score("accuracy", Targets(y, weights), proba)
    covered, plainly = [], []
    for start in range(0, 400_000, 200):
        sample = slice(start, start + 200)
        found = score("accuracy", Targets(y[sample], weights[sample]), proba[sample])
        error = standard_error("accuracy", Targets(y[sample], weights[sample]), proba[sample])
        covered.append(abs(found - true) < 1.96 * error)
        plainly.append(abs(found - true) < 1.96 * standard_error("accuracy", Targets(y[sample]), proba[sample]))
    assert 0.93 < np.mean(covered) < 0.965
    assert np.mean(plainly) < 0.9


@pytest.mark.parametrize(
    "weights", [np.ones(3), np.array([1.0, 1.0, -1.0, 1.0]), np.array([1.0, np.nan, 1.0, 1.0]), np.zeros(4)]
)
def test_what_are_no_weights_is_refused(weights: ImageWeights) -> None:
    y, proba, _ = predictions(4, 2, 0)
    for judge in (score, standard_error):
        with pytest.raises(ValueError, match="weights"):
            judge("accuracy", Targets(y, weights), proba)


@given(values=st.lists(st.floats(0.2, 5.0), min_size=1, max_size=30))
def test_effective_images(values: list[float]) -> None:
    weights = np.array(values)
    assert 1.0 - 1e-9 <= effective_images(weights) <= len(weights) + 1e-9
    assert effective_images(np.full(7, 0.3)) == pytest.approx(7.0)


def test_means_and_their_errors() -> None:
    values, weights = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 3.0, 1.0, 1.0])
    assert mean_over(values, weights) == pytest.approx(4 / 6)
    assert mean_error(values) == pytest.approx(np.std(values, ddof=1) / 2)
    assert mean_error(values, np.full(4, 0.5)) == pytest.approx(mean_error(values))
    assert math.isnan(mean_error(values[:1], weights[:1]))


def test_what_is_fitted_is_fitted_by_weight() -> None:
    """To images of weight two as to two images of each."""
    y, proba, _ = predictions(120, 3, 3)
    times = np.random.default_rng(0).integers(0, 3, 120)
    rows, weights = np.repeat(np.arange(120), times), times.astype(np.float64)
    other = predictions(120, 3, 3, skill=1.5)[1]
    assert fit_temperature(Targets(y, weights), proba) == pytest.approx(
        fit_temperature(Targets(y[rows]), proba[rows]), rel=1e-3
    )
    assert fit_offsets(Targets(y, weights), proba, "macro_f1") == pytest.approx(
        fit_offsets(Targets(y[rows]), proba[rows], "macro_f1"), abs=0.05
    )
    assert fit_cuts(Targets(y, weights), proba, "qwk") == pytest.approx(
        fit_cuts(Targets(y[rows]), proba[rows], "qwk"), abs=1e-6
    )
    views, repeated = ({"identity": proba, "hflip": other}, {"identity": proba[rows], "hflip": other[rows]})
    assert choose_views(Targets(y, weights), views, "accuracy") == choose_views(Targets(y[rows]), repeated, "accuracy")
    # Where only images that hardly count are helped by a view, it is left out.
    half = np.arange(120) < 60
    mixed = {"identity": proba, "hflip": np.where(half[:, None], other, 1.0 / 3.0).astype(np.float32)}
    assert choose_views(Targets(y, np.where(half, 1.0, 1e-3)), mixed, "accuracy") == ("identity", "hflip")
    assert choose_views(Targets(y, np.where(half, 1e-3, 1.0)), mixed, "accuracy") == ("identity",)
