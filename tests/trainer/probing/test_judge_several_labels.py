"""Several labels judged by linear probes: planted errors, copies, labels of one fold, and features that say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.probing.judge_labels import CannotJudge
from trainer.probing.judge_several_labels import judge_predictions, judge_several_labels


def marked(n: int = 160, classes: int = 4, noise: float = 0.2) -> tuple[Any, Any]:
    """Features with a direction for each label, and the labels."""
    rng = np.random.default_rng(0)
    y = (rng.random((n, classes)) < 0.4).astype(np.int64)
    return (y @ rng.normal(size=(classes, 12)) + noise * rng.normal(size=(n, 12))).astype(np.float32), y


def test_planted_errors_are_suspicious_and_nothing_is_changed() -> None:
    x, truth = marked()
    y = truth.copy()
    for row, label in ((5, 0), (50, 1), (100, 2), (101, 3)):
        y[row, label] = 1 - y[row, label]
    before = y.copy()
    seen: list[tuple[int, int]] = []
    found = judge_several_labels(x, y, np.arange(160), n_folds=3, progress=lambda *step: seen.append(step))
    proposed = dict(zip(found.errors.rows.tolist(), found.errors.proposed.tolist(), strict=True))
    hits = {5, 50, 100, 101} & proposed.keys()
    assert len(hits) >= 3 and len(proposed) <= 8
    assert all(proposed[row] == truth[row].tolist() for row in hits)
    assert found.hits > 0.9 and found.false_alarms < 0.1 and found.unjudged == () and seen
    assert np.array_equal(y, before)


def test_a_copy_of_an_image_does_not_confirm_its_wrong_labels() -> None:
    x, y = marked()
    x[1], y[1] = x[0], y[0]
    y[:2, 0] = 1 - y[:2, 0]
    groups = np.arange(160)
    groups[1] = 0
    assert {0, 1} <= set(judge_several_labels(x, y, groups, n_folds=3).errors.rows.tolist())


def test_labels_that_cannot_be_judged_are_named() -> None:
    """One that only one fold holds, one that all images of the other folds have, and one that nothing predicts."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (90, 4))
    folds = np.arange(90) % 3
    truth[:, 1] = np.arange(90) < 1
    truth[:, 2] = 1 - truth[:, 1]
    proba = np.where(truth == 1, 0.9, 0.1).astype(np.float32)
    proba[:, 3] = rng.random(90)
    y = truth.copy()
    y[[7, 8], 0] = 1 - y[[7, 8], 0]
    proba[8, 0] = np.nan
    found = judge_predictions(y, proba, folds)
    assert found.errors.rows.tolist() == [7] and found.errors.changed.tolist() == [[True, False, False, False]]
    assert found.errors.judged == 89 and found.unjudged == (1, 2, 3)
    assert found.predicted == "predict 100% of the labels that images have and 2% of those they lack"
    with pytest.raises(CannotJudge, match="no label is predicted better"):
        judge_predictions(y[:, 3:], proba[:, 3:], folds)
    with pytest.raises(CannotJudge, match="cannot be split into 5 folds"):
        judge_several_labels(np.zeros((90, 2), np.float32), y, np.arange(90) // 30, n_folds=5)


def test_a_label_is_judged_only_in_folds_whose_networks_have_seen_it() -> None:
    y, proba = np.zeros((60, 2), np.int64), np.full((60, 2), 0.1, np.float32)
    folds = np.arange(60) % 2
    y[::2, 0] = np.arange(30) % 2  # only in fold 0: the networks that predict fold 0 have never seen the label
    y[:, 1] = np.arange(60) // 2 % 2
    proba[y == 1] = 0.9
    proba[0, 1] = 0.95
    proba[0, 0] = 0.95
    found = judge_predictions(y, proba, folds)
    assert found.unjudged == (0,) and found.errors.rows.tolist() == [0]
    assert found.errors.proposed.tolist() == [[0, 1]]
