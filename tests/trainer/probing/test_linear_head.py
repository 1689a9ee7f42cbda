"""The logistic regression of linear probes, against scikit-learn, and its choice of the penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from trainer.probing import linear_head
from trainer.probing.linear_head import PENALTIES, fit_heads, inner_probabilities
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


@settings(max_examples=8)
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


def test_rows_of_weight_0_are_as_if_they_were_not_there() -> None:
    x, y = clusters(120, 20)
    folds = folds_of(120, 4)
    gone = np.arange(120) % 7 == 0
    y[gone] = (y[gone] + 1) % 3
    weights = [np.where(gone, 0.0, 1.0).astype(np.float32)] * 4
    with_zeros = fit_heads(x, y, folds, class_weights=plain, row_weights=weights)
    without = fit_heads(x[~gone], y[~gone], folds[~gone], class_weights=plain)
    for one, other in zip(with_zeros, without, strict=True):
        assert one.penalty == other.penalty
        assert np.allclose(one.predict_proba(x), other.predict_proba(x), atol=1e-4)


def test_row_weights_are_those_of_scikit_learn() -> None:
    x, y = clusters(120, 10)
    folds = folds_of(120, 3)
    weights = np.where(np.arange(120) % 5 == 0, 0.5, 1.0).astype(np.float32)
    heads = fit_heads(x, y, folds, class_weights=plain, row_weights=[weights, np.ones(120, np.float32), weights])
    part = folds != 0
    reference = LogisticRegression(C=1.0 / (heads[0].penalty * weights[part].sum()), tol=1e-8, max_iter=10_000)
    reference.fit(scaled(x, part)[part], y[part], sample_weight=weights[part])
    assert np.abs(heads[0].predict_proba(x) - reference.predict_proba(scaled(x, part))).max() < 0.02
    unweighted = fit_heads(x, y, folds, class_weights=plain)[1]
    assert np.allclose(heads[1].predict_proba(x), unweighted.predict_proba(x), atol=1e-4), "each fold has its own"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_inner_probabilities_know_nothing_of_what_a_fold_holds_out(count: int) -> None:
    """Other labels of held-out rows change nothing, and each row is predicted by fits without itself."""
    x, y = clusters(90, 12, noise=0.7)
    folds = folds_of(90, count) if count > 1 else np.full(90, -1)
    heads = fit_heads(x, y, folds, class_weights=plain)
    before = inner_probabilities(x, y, folds, heads, class_weights=plain)
    assert [np.isfinite(proba).all(axis=1).tolist() for proba in before] == [
        (folds != fold).tolist() for fold in range(count)
    ]
    changed = y.copy()
    changed[folds == 0] = (y[folds == 0] + 1) % 3
    other_heads = fit_heads(x, changed, folds, class_weights=plain)
    after = inner_probabilities(x, changed, folds, other_heads, class_weights=plain)
    assert np.array_equal(before[0], after[0], equal_nan=True)
    part = folds != 0
    assert (before[0][part].argmax(axis=1) == y[part]).mean() > 0.8
    own = heads[0].predict_proba(x)[part]
    assert own[np.arange(part.sum()), y[part]].mean() > before[0][part][np.arange(part.sum()), y[part]].mean()


def test_a_class_that_an_inner_fit_has_not_seen_is_not_judged() -> None:
    x, y = clusters(90, 12)
    folds = folds_of(90, 3)
    y[folds != 1] %= 2  # the third class is in one fold alone
    heads = fit_heads(x, y, folds, class_weights=plain)
    proba = inner_probabilities(x, y, folds, heads, class_weights=plain)[0]
    assert np.isnan(proba[(folds == 1) & (y == 2)]).all() and np.isfinite(proba[(folds == 1) & (y < 2)]).all()
