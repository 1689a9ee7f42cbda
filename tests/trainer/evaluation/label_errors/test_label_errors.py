"""Confident learning: planted label errors, the published counts, and properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.folds import make_folds
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.probing.linear_head import fit_heads


def probed(x: Any, y: Any, classes: int) -> Any:
    """Out-of-fold probabilities of a linear probe."""
    folds = make_folds(y, np.arange(len(y)), 5, seed=0)
    heads = fit_heads(x, y, folds, class_weights=lambda own: np.ones(classes, np.float32))
    proba = np.zeros((len(y), classes), np.float32)
    for fold, head in enumerate(heads):
        proba[folds == fold] = head.predict_proba(x[folds == fold])
    return proba


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15])
def test_planted_errors_are_found_and_their_share_is_estimated(share: float) -> None:
    """Precision and recall of labels that were made wrong at random, in classes of different size."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2, 3], [60, 120, 120, 180])
    x = (rng.normal(size=(4, 20))[truth] + 0.7 * rng.normal(size=(480, 20))).astype(np.float32)
    wrong = rng.permutation(480)[: round(share * 480)]
    y = truth.copy()
    y[wrong] = (y[wrong] + rng.integers(1, 4, len(wrong))) % 4
    found = find_label_errors(y, probed(x, y, 4))
    hits = np.intersect1d(found.rows, wrong)
    assert found.judged == 480
    assert abs(found.expected_share - share) < 0.03
    assert not found.too_many
    if share:
        assert len(hits) / len(found.rows) > 0.8 and len(hits) / len(wrong) > 0.8
        suggested = dict(zip(found.rows.tolist(), found.suggested.tolist(), strict=True))
        assert np.mean([suggested[i] == truth[i] for i in hits]) > 0.95
    else:
        assert len(found.rows) <= 5


def test_the_counts_are_those_of_the_paper() -> None:
    """Thresholds are 0.6 for class 0 and 0.7 for class 1. Row 3 reaches that of class 1; rows 1, 4 reach none."""
    y = np.array([0, 0, 0, 0, 1, 1])
    p0 = np.array([0.95, 0.55, 0.7, 0.2, 0.5, 0.1])
    found = find_label_errors(y, np.stack([p0, 1 - p0], axis=1))
    assert found.rows.tolist() == [3] and found.suggested.tolist() == [1]
    assert found.label_proba == pytest.approx([0.2]) and found.suggested_proba == pytest.approx([0.8])
    # Of four images with label 0, three count, one of them towards class 1.
    assert found.expected_share == pytest.approx(4 / 3 / 6)


def test_a_class_without_judged_images_makes_no_label_suspicious() -> None:
    y = np.array([0, 0, 1, 1, 2])
    proba = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9], [np.nan] * 3])
    found = find_label_errors(y, proba)
    assert found.judged == 4 and len(found.rows) == 0 and found.expected_share == 0.0


def test_nothing_to_judge() -> None:
    found = find_label_errors(np.zeros(2, np.int64), np.full((2, 3), np.nan))
    assert found.judged == 0 and len(found.rows) == 0 and found.expected_share == 0.0
    with pytest.raises(ValueError, match="do not fit 3 labels"):
        find_label_errors(np.zeros(3, np.int64), np.zeros((2, 3)))


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**16), st.floats(0.05, 5.0))
def test_properties(n: int, classes: int, seed: int, concentration: float) -> None:
    """Every suspicious label differs from the most probable class, and renaming the classes changes nothing else."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    proba = rng.dirichlet(np.full(classes, concentration), n)
    found = find_label_errors(y, proba)
    assert 0.0 <= found.expected_share <= 1.0 and len(set(found.rows.tolist())) == len(found.rows) <= n
    assert (np.diff(found.label_proba) >= 0).all()
    assert (found.suggested != y[found.rows]).all()
    assert np.array_equal(found.suggested, proba[found.rows].argmax(axis=1))
    assert np.allclose(found.label_proba, proba[found.rows, y[found.rows]])
    names = rng.permutation(classes)
    renamed = find_label_errors(names[y], proba[:, np.argsort(names)])
    assert np.array_equal(renamed.rows, found.rows) and np.isclose(renamed.expected_share, found.expected_share)
    assert np.array_equal(renamed.suggested, names[found.suggested])
    certain = find_label_errors(y, np.eye(classes)[y])
    assert len(certain.rows) == 0 and certain.expected_share == 0.0
