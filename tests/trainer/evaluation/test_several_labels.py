"""Metrics, calibration, label rules and losses where an image may have several labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from trainer.evaluation.ambiguity import brier_scores, expected_average
from trainer.evaluation.class_scores import label_scores
from trainer.evaluation.label_rules import as_certain, fit_offsets
from trainer.evaluation.metrics import METRICS, metrics_for, score, standard_error, true_class_probability
from trainer.evaluation.several_labels import label_text, rarest_label
from trainer.evaluation.targets import Targets
from trainer.evaluation.temperature_scaling import fit_temperature, scale_temperature
from trainer.inference.blend import Blend, labels_above, log_odds
from trainer.recipe.recipe import Loss
from trainer.training.losses import compute_class_weights, image_losses

CLASSES = 4
F1_METRICS = ("macro_f1", "mean_f1", "micro_f1")


def drawn(n: int, seed: int, skill: float = 1.5) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels of different frequency, some images without any, and probabilities that know something about them."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, CLASSES)) < np.array([0.5, 0.3, 0.2, 0.1])).astype(np.int64)
    return y, 1.0 / (1.0 + np.exp(-(skill * (2 * y - 1) - 1.0 + rng.standard_normal(y.shape))))


@given(st.integers(0, 10_000), st.booleans())
def test_scores_are_scikit_learns(seed: int, weighted: bool) -> None:
    y, proba = drawn(40, seed)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, len(y)) if weighted else None
    predicted = (proba > 0.5).astype(int)
    own = {"sample_weight": weights}
    expected = {
        "mean_f1": metrics.f1_score(y, predicted, average="samples", zero_division=1.0, **own),
        "macro_f1": metrics.f1_score(y, predicted, average="macro", zero_division=0.0, **own),
        "micro_f1": metrics.f1_score(y, predicted, average="micro", zero_division=0.0, **own),
        "lrap": metrics.label_ranking_average_precision_score(y, proba, **own),
        "log_loss": -np.mean([metrics.log_loss(y[:, c], proba[:, c], labels=[0, 1], **own) for c in range(CLASSES)]),
        "roc_auc": np.mean(
            [metrics.roc_auc_score(y[:, c], proba[:, c], **own) for c in range(CLASSES) if 0 < y[:, c].sum() < len(y)]
        ),
    }
    assert expected.keys() == set(metrics_for(several_labels=True))
    for name, value in expected.items():
        assert score(name, Targets(y, weights), proba) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("name", [n for n in metrics_for(several_labels=True) if METRICS[n].standard_error])
def test_standard_errors_are_those_of_the_bootstrap(name: str) -> None:
    y, proba = drawn(600, 1)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(150)]
    spread = np.std([score(name, Targets(y[rows]), proba[rows]) for rows in draws], ddof=1)
    assert standard_error(name, Targets(y), proba) == pytest.approx(spread, rel=0.2)


def test_a_temperature_is_found_and_leaves_one_half() -> None:
    y, _ = drawn(4000, 2)
    rng = np.random.default_rng(3)
    odds = 1.5 * rng.standard_normal(y.shape)
    y = (rng.random(y.shape) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    sure = 1 / (1 + np.exp(-3.0 * odds))
    assert fit_temperature(Targets(y), sure) == pytest.approx(3.0, rel=0.1)
    assert ((scale_temperature(sure, 3.0, several_labels=True) > 0.5) == (sure > 0.5)).all()


def test_the_brier_score_is_the_mean_over_the_labels() -> None:
    y, proba = drawn(30, 4)
    assert brier_scores(y, proba) == pytest.approx(2.0 * np.mean((proba - y) ** 2, axis=1))
    average = expected_average(Targets(y), proba, [np.clip(proba + d, 0, 1) for d in (-0.1, 0.1)])
    assert 0.0 < average.brier < 0.5 and average.ambiguity > 0.0


def test_the_probability_of_the_truth_weighs_both_sides_equally() -> None:
    y = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    proba = np.array([[0.8, 0.1, 0.1, 0.4], [0.2, 0.2, 0.2, 0.2], [0.5, 0.7, 0.9, 0.9]])
    assert true_class_probability(y, proba) == pytest.approx([0.8, 0.8, 0.75])
    assert np.isnan(true_class_probability(y[:1], np.full((1, 4), np.nan, np.float32))).all()


@pytest.mark.parametrize("metric", F1_METRICS)
def test_thresholds_raise_the_score_on_new_images(metric: str) -> None:
    (y, proba), (new_y, new_proba) = drawn(800, 5, skill=1.0), drawn(800, 6, skill=1.0)
    proba, new_proba = proba * 0.6, new_proba * 0.6  # too low everywhere
    blend = Blend(weights=(1.0,), several_labels=True, offsets=fit_offsets(Targets(y), proba, metric))
    plain = score(metric, Targets(new_y), new_proba)
    assert score(metric, Targets(new_y), as_certain(blend.labels(new_proba), CLASSES)) > plain + 0.02


def test_an_image_gets_at_least_one_label_where_all_have_one() -> None:
    odds = np.array([[-3.0, -1.0, -2.0], [1.0, -1.0, 2.0]])
    assert labels_above(odds, at_least_one=True).tolist() == [[0, 1, 0], [1, 0, 1]]
    assert labels_above(odds, at_least_one=False).tolist() == [[0, 0, 0], [1, 0, 1]]


def test_blends_treat_each_label_by_itself() -> None:
    _, proba = drawn(20, 7)
    blend = Blend(weights=(1.0,), several_labels=True, temperature=2.0)
    found = blend.probabilities(proba[None])
    assert log_odds(found) == pytest.approx(log_odds(proba) / 2.0, abs=1e-5)


@pytest.mark.parametrize(
    "settings", [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}, {"gce_q": 0.5}, {"bootstrap": 0.3}]
)
def test_the_loss_of_one_label_is_that_of_two_classes(settings: dict[str, float]) -> None:
    """With logits (0, z) the softmax of two classes is the sigmoid of z."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, 3, generator=generator), torch.randint(0, 2, (6, 3), generator=generator).float()
    loss = Loss(**settings)
    columns = zip(logits.T, targets.T, strict=True)
    pairs = [(torch.stack([0 * z, z], dim=1), torch.stack([1 - t, t], dim=1)) for z, t in columns]
    each = [image_losses(two_logits, two_targets, loss, None) for two_logits, two_targets in pairs]
    found = image_losses(logits, targets, loss, None, several_labels=True)
    torch.testing.assert_close(found, torch.stack(each).sum(dim=0))
    if not settings:
        reference = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        torch.testing.assert_close(found, reference.sum(dim=1))


def test_class_weights_raise_rare_labels() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    weights = compute_class_weights(y, 3, 1.0)
    assert weights.tolist() == pytest.approx([2 / 3, 4 / 3, 0.0])
    assert compute_class_weights(y, 3, 0.0)[:2].tolist() == [1.0, 1.0]


def test_the_rarest_label_stands_for_an_image() -> None:
    y = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    assert rarest_label(y, 3).tolist() == [2, 1, 0, 3, 1]
    assert rarest_label(np.array([2, 0]), 3).tolist() == [2, 0]
    assert [label_text(row, ("a", "b", "c")) for row in (y[0], y[3], 1)] == ["a + c", "(none)", "b"]


def test_each_label_has_its_scores() -> None:
    y, proba = drawn(200, 8)
    predicted = (proba > 0.5).astype(np.int64)
    found = label_scores(y, proba, predicted)
    assert np.mean([own.score.f1 for own in found]) == pytest.approx(score("macro_f1", Targets(y), proba))
    assert np.mean([own.roc_auc for own in found]) == pytest.approx(score("roc_auc", Targets(y), proba))
    assert [own.predicted for own in found] == predicted.sum(axis=0).tolist()
