"""The logistic regression of linear probes, against scikit-learn, and its choice of the penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from trainer.probing import linear_head
from trainer.probing.linear_head import PENALTIES, fit_heads
from trainer.training.losses import compute_class_weights


def clusters(n: int, d: int, classes: int = 3, seed: int = 0, noise: float = 2.0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = generator.normal(size=(classes, d))
    scales = generator.uniform(0.1, 10.0, d)
    return ((centres[y] + noise * generator.normal(size=(n, d))) * scales + 3.0).astype(np.float32), y


def plain(y: Any) -> Any:
    return compute_class_weights(y, 3, 0.0)


def folds_of(n: int, count: int) -> Any:
    return np.arange(n, dtype=np.int64) // 3 % count


def scaled(x: Any, part: Any) -> Any:
    """Features divided by their deviations in ``part``, with variances shrunk half-way toward their mean."""
    variance = x[part].var(axis=0)
    return (x - x[part].mean(axis=0)) / np.sqrt((variance + variance.mean()) / 2)


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 20)])
def test_the_heads_are_those_of_scikit_learn(n: int, d: int) -> None:
    x, y = clusters(n, d)
    folds = folds_of(n, 4)
    for fold, head in enumerate(fit_heads(x, y, folds, class_weights=plain)):
        part = folds != fold
        reference = LogisticRegression(C=1.0 / (head.penalty * part.sum()), tol=1e-8, max_iter=10_000)
        reference.fit(scaled(x, part)[part], y[part])
        expected = reference.predict_proba(scaled(x, part))
        assert np.abs(head.predict_proba(x) - expected).max() < 0.02


def test_class_weights_are_those_of_scikit_learn() -> None:
    x, y = clusters(240, 10)
    rare = np.flatnonzero((y != 2) | (np.arange(240) % 4 == 0))
    x, y = x[rare], y[rare]
    folds = folds_of(len(y), 3)
    head = fit_heads(x, y, folds, class_weights=lambda own: compute_class_weights(own, 3, 1.0))[0]
    part = folds != 0
    reference = LogisticRegression(
        C=1.0 / (head.penalty * part.sum()), class_weight="balanced", tol=1e-8, max_iter=10_000
    ).fit(scaled(x, part)[part], y[part])
    assert np.abs(head.predict_proba(x) - reference.predict_proba(scaled(x, part))).max() < 0.02


def test_features_that_hardly_vary_get_no_large_weights() -> None:
    """Such features are noise on images unlike those of the pre-training. Standardised, they had most of the weight."""
    x, y = clusters(90, 30)
    faint = np.random.default_rng(1).normal(size=(90, 30)).astype(np.float32) * 1e-3
    for head in fit_heads(np.hstack([x, faint]), y, folds_of(90, 3), class_weights=plain):
        strong, weak = head.weight[:, :30], head.weight[:, 30:]
        assert weak.abs().max() < strong.abs().max()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**16))
def test_a_held_out_label_changes_nothing(count: int, seed: int) -> None:
    x, y = clusters(48, 12, seed=seed)
    folds = folds_of(48, count) if count > 1 else np.full(48, -1)
    changed = np.where(folds == 0, (y + 1) % 3, y)
    before, after = (fit_heads(x, labels, folds, class_weights=plain)[0] for labels in (y, changed))
    assert before.penalty == after.penalty
    assert np.array_equal(before.weight.numpy(), after.weight.numpy())


def test_the_noisier_the_features_the_stronger_the_penalty() -> None:
    penalties = []
    for noise in (0.5, 4.0, 20.0):
        x, y = clusters(90, 60, noise=noise)
        penalties.append(np.mean([head.penalty for head in fit_heads(x, y, folds_of(90, 3), class_weights=plain)]))
    assert penalties == sorted(penalties)
    assert penalties[0] < penalties[-1]


def test_weaker_penalties_are_left_out_once_the_validation_loss_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clusters(90, 60, noise=20.0)
    tried: list[float] = []
    original = linear_head._Problem.head

    def head(problem: Any, penalty: float, *tolerance: float) -> Any:
        tried.append(penalty)
        return original(problem, penalty, *tolerance)

    monkeypatch.setattr(linear_head._Problem, "head", head)
    fit_heads(x, y, folds_of(90, 3), class_weights=plain)
    assert min(tried) > PENALTIES[-1]


def test_constant_features_predict_the_class_frequencies() -> None:
    x, y = np.ones((30, 4), np.float32), np.arange(30) % 3
    for head in fit_heads(x, y, folds_of(30, 3), class_weights=plain):
        assert head.predict_proba(x) == pytest.approx(1 / 3, abs=0.01)
