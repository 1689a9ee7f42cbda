"""The choice of images with several labels that show where predictions err."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.evaluation.examples.choice import OF_CLASS
from trainer.evaluation.examples.example import SEVERAL_LABELS, Reason
from trainer.evaluation.examples.several_labels import NUMBERS, choose_label_examples
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets
from trainer.inference.blend import Blend

PLAIN = Blend(weights=(1.0,), several_labels=True)


def right(y: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Probabilities by which every label is decided rightly."""
    return np.where(y == 1, confidence, 1.0 - confidence)


def labels(n: int = 60, classes: int = 4) -> np.ndarray:
    return (np.random.default_rng(0).random((n, classes)) < 0.4).astype(np.int64)


def test_the_largest_mean_log_loss_comes_first() -> None:
    y = labels()
    proba = right(y)
    proba[17] = 1.0 - proba[17]  # every label is wrong
    proba[40, 2] = 1.0 - proba[40, 2]
    chosen = choose_label_examples(y, proba, PLAIN, 60)
    assert [example.row for example in chosen][:2] == [17, 40]
    losses = [-score("log_loss", Targets(y[[e.row]]), proba[[e.row]]) for e in chosen if e.reasons[0] is Reason.LOSS]
    assert len(losses) == NUMBERS[Reason.LOSS] and losses == sorted(losses, reverse=True)
    assert chosen[1].label == 2


def test_a_missed_and_a_wrong_label_are_told_apart() -> None:
    """More images with two small errors each have a larger mean loss than one with a single clear error."""
    y = labels()
    y[5, 1], y[6, 3] = 1, 0
    proba = right(y)
    proba[20:40, :2] = np.where(y[20:40, :2] == 1, 0.1, 0.9)
    proba[5, 1], proba[6, 3] = 0.02, 0.97
    found = {example.row: example for example in choose_label_examples(y, proba, PLAIN, 60)}
    assert (found[5].reasons[0], found[5].label) == (Reason.MISSED, 1)
    assert (found[6].reasons[0], found[6].label) == (Reason.WRONG, 3)
    assert Reason.WRONG not in found[5].reasons and Reason.MISSED not in found[6].reasons


def test_a_close_decision_depends_on_the_threshold() -> None:
    y = labels()
    proba = right(y)
    y[9, 0], proba[9, 0] = 1, 0.51
    y[8, 0], proba[8, 0] = 0, 0.2
    plain = {e.row: e for e in choose_label_examples(y, proba, PLAIN, 60) if Reason.UNSURE in e.reasons}
    assert set(plain) == {9}
    lower = Blend(weights=(1.0,), several_labels=True, offsets=(float(np.log(0.8 / 0.2)) + 0.1, 0.0, 0.0, 0.0))
    fitted = {e.row: e for e in choose_label_examples(y, proba, lower, 60)}
    assert {row for row, e in fitted.items() if Reason.UNSURE in e.reasons} == {8}
    assert Reason.WRONG in fitted[8].reasons, "0.2 is above a threshold of 0.18"


def test_the_most_probable_label_counts_where_each_image_has_one() -> None:
    y, proba = np.eye(3, dtype=np.int64)[[0, 1, 2] * 4], np.full((12, 3), 0.1)
    proba[:, 0] = 0.2
    chosen = choose_label_examples(y, proba, Blend(weights=(1.0,), several_labels=True, at_least_one=True), 60)
    assert {e.row for e in chosen if Reason.WRONG in e.reasons} <= {row for row in range(12) if y[row, 0] == 0}
    assert not any(Reason.WRONG in e.reasons for e in choose_label_examples(y, proba, PLAIN, 60))


def test_a_label_with_few_errors_is_shown_although_others_err_more() -> None:
    y = np.tile(np.eye(10, dtype=np.int64), (50, 1))
    proba = right(y, 0.99)
    proba[:300, 0] = 0.97  # wrong for 270 images
    only = 8 + 490
    proba[only, 7] = 0.7
    found = {example.row: example for example in choose_label_examples(y, proba, PLAIN, 60)}
    assert (found[only].reasons, found[only].label) == ((Reason.WEAK_CLASS,), 7)


def test_errors_of_a_weak_label_name_it() -> None:
    y = np.zeros((200, 6), np.int64)
    proba = np.full((200, 6), 0.02)
    proba[:60, 0] = 0.9  # wrong sixty times
    proba[60:80, 5] = 0.85
    weak = [e for e in choose_label_examples(y, proba, PLAIN, 60) if e.reasons[0] is Reason.WEAK_CLASS]
    assert [e.label for e in weak] == [5] * OF_CLASS


def test_a_suspicious_label_is_named() -> None:
    y = labels(200)
    y[0, 0], y[1:30, 1] = 0, 1
    proba = right(y, 0.9)
    proba[0, 0], proba[1:30, :3] = 0.93, np.where(y[1:30, :3] == 1, 0.3, 0.7)  # other images have larger losses
    proposed = y[0].copy()
    proposed[0] = 1
    chosen = choose_label_examples(y, proba, PLAIN, 60, {0: proposed})
    (suspect,) = [each for each in chosen if Reason.SUSPECT in each.reasons]
    assert (suspect.row, suspect.label) == (0, 0)


def test_a_label_that_the_threshold_hides_may_be_missing() -> None:
    """The label is not predicted, so its absence is no error of these predictions."""
    y = labels(200)
    proba = right(y, 0.9)
    proba[:, 0] = np.where(y[:, 0] == 1, 0.7, 0.02)
    y[3, 0], proba[3, 0] = 0, 0.72
    proposed = y[3].copy()
    proposed[0] = 1
    high = Blend(weights=(1.0,), several_labels=True, offsets=(-2.0, 0.0, 0.0, 0.0))
    chosen = choose_label_examples(y, proba, high, 60, {3: proposed})
    (suspect,) = [each for each in chosen if Reason.SUSPECT in each.reasons]
    assert (suspect.row, suspect.label) == (3, 0) and Reason.WRONG not in suspect.reasons


def test_images_without_predictions_are_not_chosen() -> None:
    y = labels(12)
    proba = 1.0 - right(y)
    proba[:6, 0] = np.nan
    assert {example.row for example in choose_label_examples(y, proba, PLAIN, 60)} == set(range(6, 12))
    assert choose_label_examples(y, np.full(y.shape, np.nan), PLAIN, 60) == []


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_certain_probabilities_have_finite_losses(certain: float) -> None:
    y = labels(20)
    y[:3] = certain
    chosen = choose_label_examples(y, np.full(y.shape, certain, np.float32), PLAIN, 60)
    erroneous = np.flatnonzero((y != certain).any(axis=1))
    assert 10 < len(erroneous) < 20 and set(erroneous) <= {example.row for example in chosen}
    kind = Reason.MISSED if certain == 0.0 else Reason.WRONG
    assert {e.reasons[0] for e in chosen} == {Reason.LOSS, kind}


@given(
    y=arrays(np.int64, st.tuples(st.integers(1, 60), st.integers(2, 5)), elements=st.integers(0, 1)),
    seed=st.integers(0, 1000),
    most=st.integers(0, 60),
    at_least_one=st.booleans(),
    shift=st.sampled_from([None, -1.0, 2.0]),
)
def test_any_predictions(y: np.ndarray, seed: int, most: int, at_least_one: bool, shift: float | None) -> None:
    proba = np.random.default_rng(seed).random(y.shape).astype(np.float32)
    offsets = () if shift is None else (shift,) * y.shape[1]
    blend = Blend(weights=(1.0,), several_labels=True, at_least_one=at_least_one, offsets=offsets)
    chosen = choose_label_examples(y, proba, blend, most)
    rows = [example.row for example in chosen]
    assert len(rows) <= most and len(set(rows)) == len(rows) and all(0 <= row < len(y) for row in rows)
    predicted = blend.labels(proba)
    for example in chosen:
        assert set(example.reasons) <= set(SEVERAL_LABELS) and len(set(example.reasons)) == len(example.reasons) > 0
        assert example.label is not None
        truth, answer = y[example.row, example.label], predicted[example.row, example.label]
        if example.reasons[0] is Reason.MISSED:
            assert (truth, answer) == (1, 0)
        if example.reasons[0] is Reason.WRONG:
            assert (truth, answer) == (0, 1)
        if example.reasons[0] is Reason.WEAK_CLASS:
            assert truth != answer
    assert chosen == choose_label_examples(y, proba, blend, most)
