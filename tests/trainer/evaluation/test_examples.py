"""The choice of images that show where predictions err."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.evaluation.examples.example import Reason
from trainer.evaluation.examples.one_label import LOSSES, OF_PAIR, choose_examples


def sure(y: np.ndarray, predicted: np.ndarray, classes: int, confidence: float = 0.9) -> np.ndarray:
    """Probabilities of which the predicted class has ``confidence``."""
    proba = np.full((len(y), classes), (1.0 - confidence) / (classes - 1))
    proba[np.arange(len(y)), predicted] = confidence
    return proba


def test_the_largest_loss_comes_first_and_each_image_once() -> None:
    y = np.arange(60) % 3
    proba = sure(y, y, 3)
    proba[17] = [0.5, 0.499, 0.001]  # the label is 2
    proba[40] = [0.98, 0.01, 0.01]  # the label is 1
    chosen = choose_examples(y, proba, 60)
    assert [example.row for example in chosen][:2] == [17, 40]
    rows = [example.row for example in chosen]
    assert len(set(rows)) == len(rows)
    of_17, of_40 = chosen[0], chosen[1]
    assert of_17.reasons[0] is Reason.LOSS and Reason.PAIR in of_17.reasons
    assert {Reason.LOSS, Reason.MISTAKE, Reason.PAIR} <= set(of_40.reasons)


def test_the_most_confused_pair_has_examples() -> None:
    y = np.arange(90) % 3
    predicted = y.copy()
    wrong = np.flatnonzero(y == 2)[:25]
    predicted[wrong] = 0
    chosen = choose_examples(y, sure(y, predicted, 3), 60)
    of_pair = [example.row for example in chosen if example.reasons[0] is Reason.PAIR]
    assert len(of_pair) == OF_PAIR and set(of_pair) <= set(wrong.tolist())


def test_a_class_with_few_errors_is_shown_although_others_err_more() -> None:
    """Ten classes: class 0 has 40 clear errors, class 7 a single one with a small loss."""
    y = np.repeat(np.arange(10), 50)
    predicted = y.copy()
    predicted[:40] = 1
    proba = sure(y, predicted, 10, 0.99)
    only = 7 * 50
    proba[only] = np.full(10, 0.01)
    proba[only, [7, 8]] = [0.45, 0.47]
    found = {example.row: example for example in choose_examples(y, proba, 60)}
    assert only in found


def test_a_suspicious_label_is_marked_whether_or_not_these_predictions_contradict_it() -> None:
    y = np.arange(60) % 3
    true = y.copy()
    true[5] = 0  # the label says 2
    proba = sure(y, true, 3, 0.95)
    proba[7] = np.nan
    found = {example.row: example for example in choose_examples(y, proba, 60, [7, 5, 50])}
    assert {row for row, example in found.items() if Reason.SUSPECT in example.reasons} == {5, 50}
    assert found[5].reasons[0] is Reason.LOSS and found[50].reasons == (Reason.SUSPECT,)


def test_images_without_predictions_are_not_chosen() -> None:
    y = np.arange(12) % 3
    proba = sure(y, (y + 1) % 3, 3)
    proba[:6] = np.nan
    assert {example.row for example in choose_examples(y, proba, 60)} == set(range(6, 12))
    assert choose_examples(y, np.full((12, 3), np.nan), 60) == []


def test_a_perfect_prediction_shows_the_largest_losses_alone() -> None:
    y = np.arange(60) % 3
    chosen = choose_examples(y, sure(y, y, 3), 60)
    assert [example.reasons[0] for example in chosen] == [Reason.LOSS] * LOSSES


@given(
    y=arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 4)),
    seed=st.integers(0, 1000),
    most=st.integers(0, 60),
    suspects=st.sets(st.integers(0, 79)),
)
def test_any_predictions(y: np.ndarray, seed: int, most: int, suspects: set[int]) -> None:
    proba = np.random.default_rng(seed).dirichlet(np.ones(5) / 3, len(y)).astype(np.float32)
    chosen = choose_examples(y, proba, most, sorted(suspects))
    rows = [example.row for example in chosen]
    assert len(rows) <= most and len(set(rows)) == len(rows) and all(0 <= row < len(y) for row in rows)
    assert all(len(set(example.reasons)) == len(example.reasons) > 0 for example in chosen)
    wrong = proba.argmax(axis=1) != y
    assert all(wrong[e.row] for e in chosen if e.reasons[0] not in (Reason.LOSS, Reason.SUSPECT))
    assert all((Reason.SUSPECT in e.reasons) == (e.row in suspects) for e in chosen)
    assert chosen == choose_examples(y, proba, most, sorted(suspects))
