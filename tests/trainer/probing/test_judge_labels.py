"""Labels judged by a linear probe: planted errors, copies, rare classes, and features that say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.probing.judge_labels import CannotJudge, is_informative, judge_labels


def clusters(n: int = 240, classes: int = 4, noise: float = 0.6) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % classes
    return (rng.normal(size=(classes, 16))[y] + noise * rng.normal(size=(n, 16))).astype(np.float32), y


def test_planted_errors_are_suspicious_and_nothing_is_changed() -> None:
    x, truth = clusters()
    y = truth.copy()
    y[[5, 50, 100]] = (truth[[5, 50, 100]] + 1) % 4
    before = y.copy()
    seen: list[tuple[int, int]] = []
    found = judge_labels(x, y, np.arange(240), num_classes=4, n_folds=5, progress=lambda *step: seen.append(step))
    assert {5, 50, 100} <= set(found.errors.rows[:6].tolist()) and len(found.errors.rows) <= 6
    suggested = dict(zip(found.errors.rows.tolist(), found.errors.suggested.tolist(), strict=True))
    assert all(suggested[i] == truth[i] for i in (5, 50, 100))
    assert found.accuracy > 0.95 and found.unjudged == 0
    assert np.array_equal(y, before)
    assert seen == [(step, 15) for step in range(15)]


def test_a_copy_of_an_image_does_not_confirm_its_wrong_label() -> None:
    """Rows 0 to 2 are one image, wrongly labelled each time: suspicious in one fold, not in several."""
    x, truth = clusters()
    x[1] = x[2] = x[0]
    y = truth.copy()
    y[:3] = 1
    together = np.arange(240)
    together[:3] = 0
    found = judge_labels(x, y, together, num_classes=4, n_folds=5)
    apart = judge_labels(x, y, np.arange(240), num_classes=4, n_folds=5)
    assert {0, 1, 2} <= set(found.errors.rows.tolist())
    assert not {0, 1, 2} & set(apart.errors.rows.tolist())


def test_a_class_in_one_fold_is_not_judged() -> None:
    x, y = clusters()
    y[7], y[11], y[15] = 4, 5, 5
    groups = np.arange(240)
    groups[15] = 11
    found = judge_labels(x, y, groups, num_classes=7, n_folds=5)
    assert found.unjudged == 3 and found.errors.judged == 237
    assert not {7, 11, 15} & set(found.errors.rows.tolist())


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_features_that_say_nothing_judge_nothing(share: float) -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(200) >= share * 200).astype(np.int64)
    with pytest.raises(CannotJudge, match="no better than the class frequencies"):
        judge_labels(rng.normal(size=(200, 8)).astype(np.float32), y, np.arange(200), num_classes=2, n_folds=5)


def test_one_class_or_too_few_groups_cannot_be_judged() -> None:
    x, y = clusters(20)
    with pytest.raises(CannotJudge, match="one label"):
        judge_labels(x, np.zeros(20, np.int64), np.arange(20), num_classes=1, n_folds=5)
    with pytest.raises(CannotJudge, match="cannot be split into 5 folds"):
        judge_labels(x, y, np.arange(20) // 10, num_classes=4, n_folds=5)


def test_wrong_labels_that_are_contradicted_with_confidence_hide_nothing() -> None:
    """They spoil the log loss: 10 of 100 labels have a probability of nearly 0."""
    y = np.arange(100) % 4
    predicted = np.where(np.arange(100) % 10 == 0, (y + 1) % 4, y)
    proba = np.full((100, 4), 1e-9, np.float32)
    proba[np.arange(100), predicted] = 1.0
    assert is_informative(y, proba)
    assert not is_informative(y, np.roll(proba, 1, axis=1)) and not is_informative(y[:1], proba[:1])


def test_a_rare_class_may_be_told_by_probabilities_alone() -> None:
    y = (np.arange(200) % 20 == 0).astype(np.int64)
    proba = np.tile(np.array([0.6, 0.4], np.float32), (200, 1))
    proba[y == 0] = [0.99, 0.01]
    assert (proba.argmax(axis=1) == 0).all() and is_informative(y, proba)
