"""Labels by a rule: better where the metric asks for it, held back where there is only luck to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.evaluation.label_rules import fit_cuts, fit_offsets, score_labels
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import scale_temperature
from trainer.inference.blend import Blend

PRIOR = np.array([0.86, 0.07, 0.07])


def draw(seed: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Imbalanced classes, and a model that leans toward the frequent one."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=PRIOR)
    weights = PRIOR * np.exp(1.2 * np.eye(3)[y] + rng.normal(0, 0.6, (n, 3)))
    return y, weights / weights.sum(axis=1, keepdims=True)


def ordinal(seed: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Five classes in order, seen through noise by a model that shrinks toward the middle."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    seen = 2.0 + 0.4 * (y - 2.0) + rng.normal(0, 0.3, n)
    proba = np.exp(-((seen[:, None] - np.arange(5)) ** 2))
    return y, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy"])
def test_offsets_help_rare_classes_on_images_that_they_were_not_fitted_on(metric: str) -> None:
    (y, proba), (new_y, new) = draw(0, 600), draw(1, 3000)
    offsets = fit_offsets(Targets(y), proba, metric)
    assert sum(offsets) == pytest.approx(0.0, abs=1e-9) and offsets[0] < min(offsets[1:])
    ruled = score_labels(Targets(new_y), Blend(weights=(1.0,), offsets=offsets).labels(new), 3, metric)
    assert ruled > score(metric, Targets(new_y), new) + 0.02


def test_cuts_help_kappa_on_images_that_they_were_not_fitted_on() -> None:
    (y, proba), (new_y, new) = ordinal(0, 300), ordinal(1, 3000)
    cuts = fit_cuts(Targets(y), proba, "qwk")
    assert len(cuts) == 4 and list(cuts) == sorted(cuts)
    ruled = score_labels(Targets(new_y), Blend(weights=(1.0,), cuts=cuts).labels(new), 5, "qwk")
    assert ruled > score("qwk", Targets(new_y), new) + 0.05


def test_what_is_right_already_is_left_alone() -> None:
    y = np.repeat(np.arange(3), 20)
    sure = np.where(np.eye(3)[y] > 0, 0.98, 0.01)
    assert fit_offsets(Targets(y), sure, "macro_f1") == (0.0, 0.0, 0.0)
    assert fit_cuts(Targets(y), sure, "qwk") == (0.5, 1.5)


def test_a_class_that_never_occurs_breaks_nothing() -> None:
    y, proba = draw(2, 100)
    kept = y != 2
    offsets = fit_offsets(Targets(y[kept]), proba[kept], "macro_f1")
    assert np.isfinite(offsets).all()


@given(st.floats(-50, 50), st.integers(0, 20))
def test_a_constant_added_to_all_offsets_changes_no_label(constant: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.ones(4), 30)
    offsets = rng.normal(0, 1, 4)
    rules = [Blend(weights=(1.0,), offsets=tuple(offsets + c)) for c in (0.0, constant)]
    np.testing.assert_array_equal(rules[0].labels(proba), rules[1].labels(proba))


@given(st.floats(0.05, 20), st.integers(0, 20))
def test_a_temperature_leaves_the_most_probable_class(temperature: float, seed: int) -> None:
    members = np.random.default_rng(seed).dirichlet(np.ones(4), (2, 30)).astype(np.float32)
    plain, scaled = Blend(weights=(0.5, 0.5)), Blend(weights=(0.5, 0.5), temperature=temperature)
    proba = scaled.probabilities(members)
    np.testing.assert_array_equal(plain.labels(plain.probabilities(members)), scaled.labels(proba))
    np.testing.assert_allclose(proba, scale_temperature(plain.probabilities(members), temperature), atol=1e-6)
