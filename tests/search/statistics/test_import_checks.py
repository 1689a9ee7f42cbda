"""What gives predictions away that were not held out, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.statistics.import_checks import fold_doubts, same_division, score_doubts
from trainer.evaluation.targets import Targets

N = 120
Y = np.arange(N) % 3
FOLDS = (np.arange(N) // 3) % 4


def right_with(chance: float, seed: int = 0) -> NDArray[np.float64]:
    draws = np.random.default_rng(seed)
    guess = np.where(draws.random(N) < chance, Y, (Y + 1) % 3)
    return 0.7 * np.eye(3)[guess] + 0.1


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.permutations(range(4)))
def test_parts_are_the_same_whatever_they_are_called(parts: list[int], names: list[int]) -> None:
    one = np.array(parts)
    assert same_division(one, np.array(names)[one])
    if len(set(parts)) > 1:
        assert not same_division(one, np.zeros_like(one))
        assert not same_division(np.zeros_like(one), one)


def test_other_folds_and_torn_duplicates_are_told() -> None:
    alone = np.arange(N)
    twins = alone.copy()
    twins[1] = twins[0]  # one fold
    torn = alone.copy()
    torn[3] = torn[0]  # two folds
    same = np.stack([FOLDS, 3 - FOLDS])
    assert list(fold_doubts(same, FOLDS, twins)) == []
    (doubt,) = fold_doubts(np.stack([FOLDS, np.arange(N) % 4]), FOLDS, None)
    assert "its folds are not the study's (of 1 of 2 seeds)" in doubt
    (doubt,) = fold_doubts(same, FOLDS, torn)
    assert doubt.startswith("2 images were held out while a near-duplicate")
    assert list(fold_doubts(None, FOLDS, alone)) == list(fold_doubts(None, FOLDS, None)) == []
    (doubt,) = fold_doubts(None, FOLDS, twins)
    assert "2 images have a near-duplicate" in doubt


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "macro_f1", "roc_auc"])
def test_too_good_is_doubted_better_is_not(metric: str) -> None:
    best = right_with(0.6)
    assert list(score_doubts(metric, Targets(Y), right_with(0.65, 1), best)) == []
    assert "better than the best" in " ".join(score_doubts(metric, Targets(Y), right_with(0.97, 1), best))


def test_knowing_every_label_is_doubted_unless_the_study_does_too() -> None:
    perfect = right_with(1.0)
    (doubt,) = score_doubts("accuracy", Targets(Y), perfect, None)
    assert "nearly always right" in doubt
    assert list(score_doubts("accuracy", Targets(Y), perfect, perfect)) == []
    assert list(score_doubts("accuracy", Targets(Y), right_with(0.9), None)) == []
