"""The gate of pseudo-labels: unanimity, probability, quotas, and its precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.pseudo_labels import MOST, NO_LABEL, Precision, judge_gate, most_labels, pseudo_labels


def network(*rows: tuple[float, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(rows)


def test_all_networks_have_to_agree_and_to_be_sure() -> None:
    first = network((0.95, 0.05), (0.95, 0.05), (0.95, 0.05), (0.02, 0.98))
    second = network((0.97, 0.03), (0.45, 0.55), (0.80, 0.20), (0.04, 0.96))
    assert pseudo_labels(np.stack([first, second]), most=100).tolist() == [0, NO_LABEL, NO_LABEL, 1]
    assert pseudo_labels(np.stack([first, second]), probability=0.85, most=100).tolist() == [0, NO_LABEL, 0, 1]


def test_an_easy_class_gives_no_more_than_its_share_of_the_predictions() -> None:
    easy = [(0.99 - 0.001 * number, 0.01 + 0.001 * number) for number in range(10)]
    unsure = [(0.2, 0.8)] * 9 + [(0.05, 0.95)]
    labels = pseudo_labels(network(*easy, *unsure)[None], most=100)
    expected = np.ceil(network(*easy, *unsure)[:, 0].mean() * 11)  # 11 images pass
    assert expected < 10
    assert (labels == 0).sum() == expected and (labels == 1).sum() == 1
    assert (labels[: int(expected)] == 0).all(), "the most probable first"


def test_labels_are_no_more_than_asked_for() -> None:
    sure = network(*[(0.99, 0.01)] * 5, *[(0.01, 0.99)] * 5)[None]
    assert (pseudo_labels(sure, most=4) != NO_LABEL).sum() == 4
    assert (pseudo_labels(sure, most=0) == NO_LABEL).all()
    assert pseudo_labels(np.zeros((2, 0, 3)), most=4).shape == (0,)
    assert most_labels(300, 60, 600) == MOST * 30


@given(
    networks=st.integers(1, 4),
    images=st.integers(1, 30),
    classes=st.integers(2, 5),
    sharpness=st.floats(1.0, 12.0),
    seed=st.integers(0, 999),
)
def test_every_label_meets_all_conditions(
    networks: int, images: int, classes: int, sharpness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    common = sharpness * rng.normal(size=(images, classes))
    logits = common + rng.normal(size=(networks, images, classes))
    proba = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    labels = pseudo_labels(proba, probability=0.8, most=images)
    given_rows = np.flatnonzero(labels != NO_LABEL)
    mean = proba.mean(axis=0)
    assert (proba.argmax(axis=2)[:, given_rows] == labels[given_rows]).all()
    assert (mean[given_rows, labels[given_rows]] >= 0.8).all()
    unanimous = (proba.argmax(axis=2) == proba[0].argmax(axis=1)).all(axis=0)
    passed = unanimous & (mean.max(axis=1) >= 0.8)
    quotas = np.ceil(mean.mean(axis=0) * passed.sum() - 1e-6)
    assert (np.bincount(labels[given_rows], minlength=classes) <= quotas).all()


def test_the_precision_is_that_of_the_same_gate_on_known_labels() -> None:
    sure = network((0.95, 0.05), (0.95, 0.05), (0.04, 0.96), (0.6, 0.4))[None]
    found = judge_gate([(sure, np.array([0, 1, 1, 0])), (sure, np.array([0, 0, 1, 1]))], labelled=8, test_images=8)
    assert (found.images, found.accepted, found.right, found.share) == (8, 6, 5, 5 / 6)
    few = judge_gate([(sure, np.array([0, 1, 1, 0]))], labelled=4, test_images=16)
    assert few.accepted <= 2, "as few as of the test images"


def test_the_interval_is_clopper_pearsons() -> None:
    low, high = Precision(images=40, accepted=27, right=27).interval
    assert (low, high) == (pytest.approx(0.025 ** (1 / 27)), 1.0)
    assert Precision(images=40, accepted=0, right=0).interval == (0.0, 1.0)
    low, high = Precision(images=40, accepted=20, right=19).interval
    assert (low, high) == (pytest.approx(0.7513, abs=1e-4), pytest.approx(0.9987, abs=1e-4))
    assert str(Precision(images=40, accepted=20, right=19)) == "95.0% (75.1 to 99.9%) of 20 accepted labels"
    assert "unknown" in str(Precision(images=40, accepted=0, right=0))
