"""Score of the best of many without selection bias: each selection is scored on images that it did not use."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from search.statistics.selection_bias import PARTS, CandidateRecipe, CrossValidated, unbiased_score
from trainer.evaluation.metrics import score
from trainer.evaluation.targets import Targets

IMAGES, CLASSES = 300, 4


def guesses(y: NDArray[np.int64], share_right: float, seed: int) -> NDArray[np.float32]:
    """Predictions of which about that share is right."""
    generator = np.random.default_rng(seed)
    right = generator.random(len(y)) < share_right
    labels = np.where(right, y, (y + generator.integers(1, CLASSES, len(y))) % CLASSES)
    return (0.7 * np.eye(CLASSES)[labels] + 0.3 / CLASSES).astype(np.float32)


def labels(seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, CLASSES, IMAGES)


def tried_once(searched: NDArray[np.float32], *fresh: NDArray[np.float32]) -> CandidateRecipe:
    return CandidateRecipe(searched=CrossValidated(oof=searched), fresh=tuple(CrossValidated(oof=oof) for oof in fresh))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
def test_one_recipe_alone_keeps_its_score(metric: str) -> None:
    y = labels()
    oof = guesses(y, 0.6, seed=1)
    honest = unbiased_score([tried_once(oof)], Targets(y), metric)
    assert honest.score == pytest.approx(score(metric, Targets(y), oof))


def test_the_best_of_many_equals_looks_better_than_it_is_and_honestly_does_not() -> None:
    seen, honest = [], []
    for seed in range(20):
        y = labels(seed)
        tried = [guesses(y, 0.6, seed=1000 * seed + i) for i in range(30)]
        seen.append(max(score("accuracy", Targets(y), oof) for oof in tried))
        honest.append(unbiased_score([tried_once(oof) for oof in tried], Targets(y), "accuracy").score)
    assert np.mean(seen) > 0.64, "luck of the best of thirty"
    assert abs(np.mean(honest) - 0.6) < 0.015


def test_a_plainly_better_recipe_keeps_its_score() -> None:
    y = labels()
    best = guesses(y, 0.9, seed=1)
    others = [tried_once(guesses(y, 0.5, seed=i)) for i in range(2, 20)]
    honest = unbiased_score([*others, tried_once(best)], Targets(y), "accuracy")
    assert honest.score == pytest.approx(score("accuracy", Targets(y), best))
    assert honest.error == pytest.approx(np.sqrt(0.9 * 0.1 / IMAGES), rel=0.3)


def test_a_lucky_training_is_judged_by_its_confirmation() -> None:
    y = labels()
    lucky, again = guesses(y, 0.9, seed=1), guesses(y, 0.7, seed=2)
    honest = unbiased_score([tried_once(lucky, again)], Targets(y), "accuracy")
    assert honest.score == pytest.approx(score("accuracy", Targets(y), again))


def test_weights_count() -> None:
    y = labels()
    oof = guesses(y, 0.6, seed=1)
    weights = np.random.default_rng(0).uniform(0.2, 5.0, IMAGES)
    tried = [tried_once(oof)]
    assert unbiased_score(tried, Targets(y, weights), "accuracy").score == pytest.approx(
        score("accuracy", Targets(y, weights), oof)
    )
    assert unbiased_score(tried, Targets(y, np.ones(IMAGES)), "accuracy") == unbiased_score(
        tried, Targets(y), "accuracy"
    )


def test_fewer_images_than_parts_are_enough() -> None:
    y = np.arange(PARTS - 3, dtype=np.int64) % CLASSES
    honest = unbiased_score([tried_once(guesses(y, 1.0, seed=i)) for i in range(3)], Targets(y), "accuracy")
    assert honest.score == 1.0


def test_nothing_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="no best"):
        unbiased_score([], Targets(labels()), "accuracy")


def test_the_best_of_many_looks_better_by_what_is_said() -> None:
    looks, said = [], []
    for seed in range(20):
        y = labels(seed)
        tried = [guesses(y, 0.6, seed=1000 * seed + i) for i in range(30)]
        looks.append(max(score("accuracy", Targets(y), oof) for oof in tried) - 0.6)
        said.append(unbiased_score([tried_once(oof) for oof in tried], Targets(y), "accuracy").optimism)
    assert np.mean(said) == pytest.approx(np.mean(looks), abs=0.015)


def test_one_recipe_alone_has_no_selection_bias() -> None:
    y = labels()
    assert unbiased_score([tried_once(guesses(y, 0.6, seed=1))], Targets(y), "accuracy").optimism == pytest.approx(
        0.0, abs=1e-9
    )


def test_a_recipe_that_wins_only_as_an_average_has_no_selection_bias() -> None:
    y = labels()
    good, gaining = guesses(y, 0.70, seed=1), guesses(y, 0.62, seed=2)
    differing = CandidateRecipe(searched=CrossValidated(oof=gaining, ambiguity=0.3, averaging_gain=0.3))
    honest = unbiased_score([tried_once(good), differing], Targets(y), "accuracy")
    assert honest.score == pytest.approx(score("accuracy", Targets(y), gaining))
    assert honest.optimism == pytest.approx(0.0, abs=1e-9)
