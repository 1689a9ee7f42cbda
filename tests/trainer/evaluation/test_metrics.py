from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.metrics import Probabilities, metrics_for, score, standard_error, true_class_probability
from trainer.evaluation.targets import Labels, Targets

ONE_LABEL = metrics_for(several_labels=False)


def predictions(n: int, classes: int, seed: int, skill: float = 1.0) -> tuple[Labels, Probabilities]:
    """Labels with every class present, and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    logits = generator.normal(size=(n, classes)) + skill * np.eye(classes)[y]
    proba = np.exp(logits)
    return y, (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=30)
@given(n=st.integers(12, 80), classes=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_scores_are_scikit_learns(n: int, classes: int, seed: int) -> None:
    y, proba = predictions(n, classes, seed)
    predicted = proba.argmax(axis=1)
    columns = [sk.roc_auc_score(y == c, proba[:, c]) for c in range(classes)]
    expected = {
        "accuracy": sk.accuracy_score(y, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(y, predicted),
        "macro_f1": sk.f1_score(y, predicted, average="macro"),
        "log_loss": -sk.log_loss(y, proba, labels=list(range(classes))),
        "roc_auc": np.mean(columns),
        "qwk": sk.cohen_kappa_score(y, predicted, weights="quadratic"),
    }
    assert expected.keys() == set(ONE_LABEL)
    for name, value in expected.items():
        assert score(name, Targets(y), proba) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("name", ONE_LABEL)
def test_better_predictions_score_higher(name: str) -> None:
    y, _ = predictions(400, 4, 1)
    scores = [score(name, Targets(y), predictions(400, 4, 1, skill)[1]) for skill in (0.0, 1.0, 3.0)]
    assert scores == sorted(scores)
    perfect = np.eye(4, dtype=np.float32)[y]
    best = 0.0 if name == "log_loss" else 1.0
    assert score(name, Targets(y), perfect) == pytest.approx(best, abs=1e-6)
    assert standard_error(name, Targets(y), perfect) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ONE_LABEL)
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_order_of_images_does_not_matter(name: str, seed: int) -> None:
    y, proba = predictions(60, 3, seed)
    order = np.random.default_rng(seed).permutation(60)
    assert score(name, Targets(y[order]), proba[order]) == pytest.approx(score(name, Targets(y), proba), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_LABEL)
def test_standard_errors_foretell_the_spread_over_samples(name: str) -> None:
    samples = [predictions(150, 3, seed) for seed in range(120)]
    spread = np.std([score(name, Targets(y), proba) for y, proba in samples], ddof=1)
    errors = [standard_error(name, Targets(y), proba) for y, proba in samples[:8]]
    assert 0.7 * spread < np.mean(errors) < 1.4 * spread


@pytest.mark.parametrize("name", ONE_LABEL)
def test_standard_error_is_the_same_every_time(name: str) -> None:
    y, proba = predictions(80, 3, 5)
    assert standard_error(name, Targets(y), proba) == standard_error(name, Targets(y), proba)


def test_classes_without_images() -> None:
    y = np.array([0, 0, 1, 1])
    proba = np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]], dtype=np.float32)
    assert score("balanced_accuracy", Targets(y), proba) == 0.75
    assert score("roc_auc", Targets(y), proba) == pytest.approx(
        np.mean([sk.roc_auc_score(y == c, proba[:, c]) for c in (0, 1)])
    )
    assert score("qwk", Targets(y), proba) == sk.cohen_kappa_score(
        y, proba.argmax(axis=1), labels=[0, 1, 2], weights="quadratic"
    )


def test_a_single_class() -> None:
    y = np.zeros(5, dtype=np.int64)
    proba = np.tile(np.array([[0.9, 0.1]], dtype=np.float32), (5, 1))
    assert math.isnan(score("roc_auc", Targets(y), proba))
    assert score("qwk", Targets(y), proba) == 0.0
    assert score("accuracy", Targets(y), proba) == 1.0


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    proba = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    assert -17 < score("log_loss", Targets(np.array([0, 1])), proba) < -7


def test_true_class_probability() -> None:
    y, proba = predictions(30, 4, 0)
    values = true_class_probability(y, proba)
    assert values.dtype == np.float32
    assert values.tolist() == [proba[i, y[i]] for i in range(30)]


@pytest.mark.parametrize("shape", [(3, 2), (4,), (0, 2)])
def test_what_does_not_belong_together_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot score 4 labels"):
        score("accuracy", Targets(np.zeros(4, dtype=np.int64)), np.zeros(shape, dtype=np.float32))
