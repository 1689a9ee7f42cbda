"""A second stage as a blend: it is judged with groups that each image had no part in, and chance seldom adopts it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from search.statistics.blending.blends import Stacked
from search.statistics.blending.cross_fitting import cross_fit
from search.statistics.blending.final_blend import as_exported, fit_final
from search.statistics.blending.second_stage import TWO_STAGE, two_stage
from search.statistics.paired_gain import exceeds_one_image, paired_gain
from trainer.evaluation.confusion.confusable_groups import groups_of_predictions
from trainer.evaluation.metrics import METRICS, score
from trainer.evaluation.targets import Targets

CLASSES, PAIR = 5, (1, 3)
N = 400


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def drawn(seed: int, *, second_noise: float) -> tuple[Targets, Stacked, NDArray[np.int64]]:
    """A first stage that confuses the pair, and a second one that knows it alone, the better the less noise it has."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, N)
    truth = 4.0 * np.eye(CLASSES)[y]
    first = truth + rng.normal(0, 0.8, truth.shape)
    in_pair = np.isin(y, PAIR)
    blurred = rng.normal(0, 2.0, N)
    first[:, PAIR[0]] = np.where(in_pair, 2.0 + (y == PAIR[0]) + blurred, first[:, PAIR[0]])
    first[:, PAIR[1]] = np.where(in_pair, 2.0 + (y == PAIR[1]) - blurred, first[:, PAIR[1]])
    second = np.full_like(truth, -8.0)
    second[:, PAIR] = truth[:, PAIR] + rng.normal(0, second_noise, (N, 2))
    return Targets(y.astype(np.int64)), np.stack([softmax(first), softmax(second)]), np.arange(N, dtype=np.int64) % 4


def test_a_better_second_stage_gains_and_only_within_the_groups() -> None:
    targets, members, folds = drawn(0, second_noise=0.5)
    groups = groups_of_predictions(targets.y, members[0])
    assert groups == (PAIR,)
    fitted = fit_final(members, targets, folds, "log_loss", TWO_STAGE, calibrate=False, groups=groups)
    assert fitted.method == TWO_STAGE and fitted.blend.second_stage == groups and fitted.blend.weights == (1.0, 0.0)
    assert fitted.equal_mean_score == pytest.approx(score("log_loss", targets, members[0]))
    assert fitted.score > fitted.equal_mean_score and fitted.gain.real
    together, labels = fitted.cross_fitted.predict(members)
    others = [label for label in range(CLASSES) if label not in PAIR]
    np.testing.assert_allclose(together[:, others], members[0][:, others], rtol=1e-6)
    changed = labels != members[0].argmax(axis=1)
    assert changed.any() and np.isin(labels[changed], PAIR).all()


def test_groups_of_a_fold_are_found_without_it() -> None:
    """Where all mistakes between two classes lie in one fold, that fold is predicted without their group."""
    y = np.repeat(np.arange(3), 40)
    folds = np.tile(np.arange(4), 30)
    first = np.full((120, 3), 0.05) + 0.85 * np.eye(3)[y]
    taken = np.flatnonzero((y == 0) & (folds == 2))
    first[taken] = [0.1, 0.8, 0.1]
    second = np.full((120, 3), 0.01) + 0.97 * np.eye(3)[y]
    members: Stacked = np.stack([first, second]).astype(np.float32)
    targets = Targets(y.astype(np.int64))
    groups = groups_of_predictions(targets.y, members[0])
    assert groups == ((0, 1),)
    found = cross_fit(two_stage(groups, 120), targets, members, folds)
    assert [blend.second_stage for blend in found.blends] == [groups, groups, (), groups]
    np.testing.assert_allclose(found.predict(members)[0][taken], members[0][taken], rtol=1e-6)
    assert two_stage(groups, 120)(targets, members).second_stage == groups


@pytest.mark.parametrize("metric", ["qwk", "macro_f1", "log_loss"])
def test_stages_are_compared_as_they_would_be_exported(metric: str) -> None:
    """With their label rule or temperature: what it repairs is no gain of a second stage."""
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(3), [20, 60, 120])
    folds = rng.permutation(200) % 4
    sharp = softmax(1.5 * np.eye(3)[y] + rng.normal(0, 0.6, (200, 3)) + np.array([0.0, 0.0, 1.8]))
    targets, members = Targets(y.astype(np.int64)), sharp[None]
    plain = sharp if METRICS[metric].needs == "probabilities" else np.eye(3)[sharp.argmax(axis=1)]
    handed_in = as_exported(members, targets, folds, metric, calibrate=True)
    assert score(metric, targets, handed_in) > score(metric, targets, plain)
    fitted = fit_final(members, targets, folds, metric, "none", calibrate=True)
    assert score(metric, targets, handed_in) == pytest.approx(fitted.score)


def test_groups_of_a_fold_hold_trained_classes_alone() -> None:
    targets, members, folds = drawn(1, second_noise=0.5)
    fitted = cross_fit(two_stage(((0, 1),), N), targets, members, folds)
    assert all(blend.second_stage == () for blend in fitted.blends), "of the confused pair, one class was not trained"


def test_a_second_stage_without_knowledge_is_seldom_adopted() -> None:
    """Its probabilities are those of the first stage with noise, so that it is better by chance alone.

    One standard error is exceeded in 16 % of the draws if both are equally good: in 6 of 40.
    """
    adopted = 0
    for seed in range(40):
        targets, members, folds = drawn(seed, second_noise=0.5)
        noise = np.random.default_rng(1000 + seed).normal(0, 0.7, members[0].shape)
        copied = softmax(np.log(members[0].astype(np.float64)) + noise)
        pair = np.stack([members[0], copied])
        groups = groups_of_predictions(targets.y, members[0])
        proba = cross_fit(two_stage(groups, N), targets, pair, folds).predict(pair)[0]
        adopted += exceeds_one_image(paired_gain("accuracy", targets, proba, members[0]), "accuracy", N)
    assert adopted <= 6
