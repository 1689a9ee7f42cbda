"""Estimates of several recipes on the same images: who leads, by how much, and how much of it is luck."""

from __future__ import annotations

import numpy as np
import pytest

from search.statistics.estimates import RecipeScores, Round, estimate
from trainer.evaluation.targets import Targets

IMAGES, CLASSES, FOLDS = 400, 4, 5


def competition(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and how hard each image is."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, CLASSES, IMAGES), generator.normal(0.0, 1.0, IMAGES)


def round_of(y: np.ndarray, hard: np.ndarray, skill: float, split: int, seed: int) -> Round:
    """A cross-validation: true-class logits of ``skill``, minus what makes the image hard, and noise of its own."""
    generator = np.random.default_rng((seed, split))
    logits = generator.normal(0.0, 0.7, (len(y), CLASSES))
    logits[np.arange(len(y)), y] += skill - hard
    powers = np.exp(logits)
    oof = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    folds = np.random.default_rng(split).permutation(len(y)) % FOLDS
    return Round(split=split, folds=folds.astype(np.int64), oof=oof)


def recipes(skills: list[float], rounds: int = 1, seed: int = 0) -> tuple[list[RecipeScores], np.ndarray]:
    y, hard = competition(seed)
    judged = [
        RecipeScores(
            number=i,
            rounds=tuple(round_of(y, hard, skill, split, seed=1000 * seed + i) for split in range(1, rounds + 1)),
        )
        for i, skill in enumerate(skills)
    ]
    return judged, y


def test_a_clearly_better_recipe_leads_and_the_clearly_worse_has_fallen() -> None:
    judged, y = recipes([0.2, 2.5, 2.4], rounds=2)
    estimates = estimate(judged, Targets(y), "accuracy")
    assert estimates.leader.number in (1, 2)
    worst = estimates.of(0)
    assert worst.eliminated and not worst.tied and worst.chance_best < 0.01
    assert worst.gap_to_leader == pytest.approx(estimates.leader.mean - worst.mean, abs=0.02)
    assert estimates.of(3 - estimates.leader.number).tied
    assert [row.shrunk for row in estimates.rows] == sorted((row.shrunk for row in estimates.rows), reverse=True)
    assert sum(row.chance_best for row in estimates.rows) == pytest.approx(1.0)
    assert 0.9 < estimates.reliability <= 1.0


def test_equal_recipes_are_shrunk_toward_each_other_and_the_best_looks_less_good_than_it_did() -> None:
    optimism, shrunk = [], []
    for seed in range(30):
        judged, y = recipes([1.0] * 10, seed=seed)
        estimates = estimate(judged, Targets(y), "accuracy")
        means = [row.mean for row in estimates.rows]
        optimism.append(max(means) - np.mean(means))
        shrunk.append(estimates.leader.shrunk - np.mean(means))
    assert np.mean(optimism) > 0.01
    assert np.mean(shrunk) < 0.4 * np.mean(optimism)


def test_rounds_that_a_recipe_did_not_run_do_not_count_for_or_against_it() -> None:
    judged, y = recipes([1.0, 1.0, 0.5], rounds=3)
    easy = judged[2].rounds[0]
    partial = [judged[0], judged[1], RecipeScores(number=2, rounds=(easy,))]
    estimates = estimate(partial, Targets(y), "accuracy")
    assert [estimates.of(i).rounds for i in range(3)] == [3, 3, 1]
    assert estimates.of(2).gap_to_leader > 0.0


def test_a_recipe_that_is_there_anyway_is_not_shrunk() -> None:
    judged, y = recipes([0.3, 1.0, 1.1, 0.9, 1.05, 0.95])
    default = RecipeScores(number=0, rounds=judged[0].rounds, chosen=False)
    row = estimate([default, *judged[1:]], Targets(y), "accuracy").of(0)
    assert row.shrunk == pytest.approx(row.mean)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "roc_auc", "qwk", "balanced_accuracy"])
def test_every_metric_can_be_estimated(metric: str) -> None:
    judged, y = recipes([0.5, 1.5, 1.4], rounds=2)
    estimates = estimate(judged, Targets(y), metric)
    assert estimates.leader.number in (1, 2)
    assert all(np.isfinite([row.shrunk, row.error, row.gap_to_leader, row.gap_error]).all() for row in estimates.rows)


def test_one_recipe_alone_leads() -> None:
    judged, y = recipes([1.0])
    only = estimate(judged, Targets(y), "accuracy").leader
    assert (only.number, only.gap_to_leader, only.tied, only.eliminated, only.chance_best) == (0, 0.0, True, False, 1.0)
    assert only.shrunk == pytest.approx(only.mean)
    assert only.error > 0.0


def test_nothing_and_twice_the_same_are_refused() -> None:
    judged, y = recipes([1.0])
    for wrong in ([], [RecipeScores(number=0, rounds=())], [*judged, *judged]):
        with pytest.raises(ValueError, match="different recipes"):
            estimate(wrong, Targets(y), "accuracy")
