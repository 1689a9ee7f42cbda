"""Confident learning for several labels: planted errors, the last label of an image, and properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.evaluation.label_errors.several_labels import find_several_label_errors
from trainer.evaluation.several_labels import as_pairs


def informative(truth: Any, sure: float = 0.9, noise: float = 0.0) -> Any:
    """Probabilities that know the true labels; some are less sure by up to ``noise``."""
    near = sure - noise * np.random.default_rng(0).random(truth.shape) ** 4
    return np.where(truth == 1, near, 1.0 - near)


def drawn(n: int = 200, classes: int = 5, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.random((n, classes)) < np.linspace(0.5, 0.1, classes)).astype(np.int64)


@pytest.mark.parametrize(("noise", "least"), [(0.0, 12), (0.3, 8)])
def test_flipped_entries_are_the_candidates_and_are_flipped_back(noise: float, least: int) -> None:
    truth = drawn()
    rng = np.random.default_rng(1)
    images, labels = rng.permutation(200)[:12], rng.integers(0, 5, 12)
    y = truth.copy()
    y[images, labels] = 1 - y[images, labels]
    found = find_several_label_errors(y, informative(truth, noise=noise))
    assert set(found.rows.tolist()) <= set(images.tolist()) and len(found.rows) >= least
    assert np.array_equal(found.proposed, truth[found.rows]) and np.array_equal(found.given, y[found.rows])
    assert (found.changed.sum(axis=1) == 1).all()
    assert abs(found.expected - 12) < 4 and found.judged == 200 and not found.too_many
    assert ((found.confidence > 0.6) & (found.confidence < 0.91)).all()


def test_clean_labels_that_are_told_apart_give_no_candidates() -> None:
    truth = drawn()
    found = find_several_label_errors(truth, informative(truth))
    assert len(found.rows) == 0 and found.expected == 0.0 and found.judged == 200
    assert found.confidence.shape == (0,)


def test_two_contradicted_labels_of_an_image_are_one_row_and_the_clearest_row_comes_first() -> None:
    truth = drawn()
    truth[3], truth[4] = [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]
    y, proba = truth.copy(), informative(truth)
    y[3], y[4] = [1, 0, 1, 0, 0], [1, 0, 0, 0, 0]
    proba[3], proba[4] = [0.9, 0.92, 0.1, 0.1, 0.1], [0.55, 0.94, 0.45, 0.1, 0.1]
    found = find_several_label_errors(y, proba)
    assert found.rows.tolist() == [4, 3] and found.changed.sum(axis=1).tolist() == [1, 2]
    assert found.confidence.tolist() == [0.94, 0.92]


def test_the_last_label_goes_only_where_images_may_have_none() -> None:
    truth = np.tile(np.eye(3, dtype=np.int64), (20, 1))
    y, proba = truth.copy(), informative(truth)
    proba[0] = [0.05, 0.05, 0.2]  # labelled 0: contradicted, and label 2 is the most probable
    proba[3] = [0.08, 0.05, 0.08]  # labelled 0: contradicted, but nothing is more probable
    proba[5] = [0.08, 0.05, 0.08]  # labelled 2
    found = find_several_label_errors(y, proba)
    assert found.rows.tolist() == [0] and found.proposed.tolist() == [[0, 0, 1]]
    y[59], proba[59] = 0, 0.1  # an image without labels
    found = find_several_label_errors(y, proba)
    assert sorted(found.rows.tolist()) == [0, 3, 5] and found.proposed.tolist() == [[0, 0, 0]] * 3


def test_what_is_not_judged_is_never_proposed() -> None:
    truth = drawn()
    y, proba = truth.copy(), informative(truth)
    y[:6, 0] = 1 - y[:6, 0]
    judged = np.ones(y.shape, np.bool_)
    judged[:3, 0] = False
    proba[3, 0] = np.nan
    found = find_several_label_errors(y, proba, judged)
    assert set(found.rows.tolist()) == {4, 5} and np.isfinite(found.confidence).all()
    nothing = find_several_label_errors(y, np.full(y.shape, np.nan))
    assert nothing.judged == 0 and len(nothing.rows) == 0 and not nothing.too_many
    with pytest.raises(ValueError, match="do not fit labels"):
        find_several_label_errors(y, proba[:, :2])


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**16))
def test_properties(n: int, classes: int, seed: int) -> None:
    """Each pair is judged by its column alone, every row changes, and nothing depends on the order of the labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, classes))
    y[0] = 0
    proba = rng.random((n, classes))
    found = find_several_label_errors(y, proba)
    changed = np.zeros(y.shape, np.bool_)
    changed[found.rows] = found.changed
    for label in range(classes):
        alone = find_label_errors(y[:, label], as_pairs(proba[:, label]))
        assert np.flatnonzero(changed[:, label]).tolist() == sorted(alone.rows.tolist())
    assert found.changed.any(axis=1).all() and (found.confidence >= 0.5).all()
    assert (np.diff(found.confidence) <= 0).all()
    order = rng.permutation(classes)
    other = find_several_label_errors(y[:, order], proba[:, order])
    assert np.array_equal(other.rows, found.rows) and np.array_equal(other.proposed, found.proposed[:, order])
    assert other.expected == pytest.approx(found.expected)
