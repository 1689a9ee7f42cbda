"""Suspicious labels inside of training parts: found, limited by class, and independent of what a fold holds out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.probing.suspicious_rows import LARGEST_SHARE, LEAST_KEPT, suspicious_rows

CLASSES = 4


def noisy_clusters(n: int = 240, wrong: int = 24) -> tuple[Any, Any, Any]:
    """Features, labels of which ``wrong`` are changed, and the changed rows."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % CLASSES
    x = (rng.normal(size=(CLASSES, 16))[truth] + 0.5 * rng.normal(size=(n, 16))).astype(np.float32)
    changed = np.sort(rng.choice(n, wrong, replace=False))
    y = truth.copy()
    y[changed] = (truth[changed] + 1) % CLASSES
    return x, y, changed


def folds_of(n: int, count: int) -> Any:
    return np.arange(n, dtype=np.int64) // CLASSES % count


@pytest.mark.parametrize("count", [2, 4])
def test_wrong_labels_of_each_training_part_are_found(count: int) -> None:
    x, y, changed = noisy_clusters()
    folds = folds_of(len(y), count)
    found = suspicious_rows(x, y, folds, num_classes=CLASSES)
    assert len(found) == count
    for fold, rows in enumerate(found):
        assert (folds[rows] != fold).all() and (np.diff(rows) > 0).all() and rows.dtype == np.int64
        wrong = set(changed[folds[changed] != fold].tolist())
        assert len(wrong & set(rows.tolist())) >= 0.8 * len(wrong)
        assert len(wrong & set(rows.tolist())) >= 0.7 * len(rows)


def test_without_held_out_rows_all_of_them_are_judged() -> None:
    x, y, changed = noisy_clusters()
    (rows,) = suspicious_rows(x, y, np.full(len(y), -1), num_classes=CLASSES)
    assert len(set(changed.tolist()) & set(rows.tolist())) >= 0.8 * len(changed)


def test_held_out_labels_and_features_change_nothing() -> None:
    x, y, _ = noisy_clusters()
    folds = folds_of(len(y), 4)
    before = suspicious_rows(x, y, folds, num_classes=CLASSES)
    other_x, other_y = x.copy(), y.copy()
    other_x[folds == 2] = other_x[folds == 2][::-1] * 3.0
    other_y[folds == 2] = (y[folds == 2] + 1) % CLASSES
    after = suspicious_rows(other_x, other_y, folds, num_classes=CLASSES)
    assert np.array_equal(before[2], after[2])
    assert not all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_it_is_a_function_of_its_arguments() -> None:
    x, y, _ = noisy_clusters()
    folds = folds_of(len(y), 4)
    first, second = (suspicious_rows(x, y, folds, num_classes=CLASSES) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_class_keeps_most_of_its_rows() -> None:
    """Most labels of class 0 are wrong, and class 3 has few rows."""
    x, y, _ = noisy_clusters(wrong=0)
    truth = y.copy()
    y[np.flatnonzero(truth == 1)[:40]] = 0
    rare = np.flatnonzero(truth == 3)
    keep = np.setdiff1d(np.arange(len(y)), rare[8:])
    x, y, truth = x[keep], y[keep], truth[keep]
    y[np.flatnonzero(truth == 2)[:4]] = 3
    folds = np.arange(len(y)) % 3
    for fold, rows in enumerate(suspicious_rows(x, y, folds, num_classes=CLASSES)):
        counts = np.bincount(y[folds != fold], minlength=CLASSES)
        dropped = np.bincount(y[rows], minlength=CLASSES)
        assert (dropped <= LARGEST_SHARE * counts).all()
        assert ((counts - dropped >= LEAST_KEPT) | (dropped == 0)).all()


def test_features_that_say_nothing_suspect_nobody() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(90, 8)).astype(np.float32), np.arange(90) % 3
    assert all(len(rows) == 0 for rows in suspicious_rows(x, y, folds_of(90, 3), num_classes=3))
