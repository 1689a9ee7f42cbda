"""Choosing a winner from stored values."""

from __future__ import annotations

import numpy as np
import pytest

from search.statistics.ranking import (
    ERRORS_FALL,
    ERRORS_FALL_OF_PROBES,
    Candidate,
    NothingFinished,
    average,
    averaging_gain,
    choose,
    objective,
    rank,
)


def candidate(number: int, value: float, brier: float = 0.5, metric: str = "accuracy") -> Candidate:
    return Candidate(
        number=number,
        value=value,
        standard_error=0.01,
        averaged=value,
        brier=brier,
        objective=objective(metric, value, brier),
    )


def test_the_best_by_metric_and_brier_score_wins_then_the_elder() -> None:
    tied = [candidate(3, 0.9, 0.4), candidate(2, 0.9, 0.3), candidate(1, 0.9, 0.3), candidate(0, 0.8, 0.4)]
    assert [c.number for c in rank(tied)] == [1, 2, 3, 0]
    assert choose(tied).number == 1


def test_a_metric_of_labels_is_helped_by_the_brier_score_and_one_of_probabilities_is_not() -> None:
    lucky, sure = (0.90, 0.40), (0.89, 0.30)
    for metric, first in (("accuracy", 1), ("macro_f1", 1), ("log_loss", 0), ("roc_auc", 0)):
        both = [candidate(number, *scores, metric=metric) for number, scores in enumerate((lucky, sure))]
        assert choose(both).number == first, metric


def test_averaging_lessens_errors_by_nearly_the_share_by_which_it_lessens_the_brier_score() -> None:
    assert averaging_gain("accuracy", 0.6, 0.4, 0.1) == pytest.approx(0.4 * ERRORS_FALL * 0.2)
    assert averaging_gain("accuracy", 0.99, 0.001, 0.1) == pytest.approx(0.01), "no more than is missing"
    assert averaging_gain("qwk", 0.6, 0.4, 0.1) == averaging_gain("accuracy", 0.6, 0.4, 0.1)
    assert averaging_gain("accuracy", 0.6, 0.4, 0.0) == 0.0
    assert averaging_gain("log_loss", -0.7, 0.4, 0.1) == 0.0
    probe = averaging_gain("accuracy", 0.6, 0.4, 0.1, is_probe=True)
    assert probe == pytest.approx(0.4 * ERRORS_FALL_OF_PROBES * 0.2)
    assert probe < averaging_gain("accuracy", 0.6, 0.4, 0.1)


def test_the_objective_is_the_mean_of_the_metric_and_one_less_the_brier_score() -> None:
    assert objective("accuracy", 0.7, 0.3) == pytest.approx(0.7)
    assert objective("log_loss", -0.7, 0.7) == -0.7


def test_nothing_finished_is_said() -> None:
    with pytest.raises(NothingFinished, match="nothing to export"):
        choose([])


def test_averages_do_not_lose_precision() -> None:
    parts = [np.full((3, 2), value, dtype=np.float32) for value in (0.1, 0.2, 0.6)]
    assert average(parts).dtype == np.float32
    np.testing.assert_allclose(average(parts), 0.3, rtol=1e-6)
