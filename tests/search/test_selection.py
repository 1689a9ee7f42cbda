"""Choosing a winner from stored values."""

from __future__ import annotations

import numpy as np
import pytest

from search.selection import Candidate, NothingFinished, average, choose, rank


def candidate(number: int, value: float, soft: float = 0.5) -> Candidate:
    return Candidate(number=number, value=value, standard_error=0.01, soft=soft)


def test_the_best_metric_wins_then_the_surer_then_the_elder() -> None:
    tied = [candidate(3, 0.9, 0.6), candidate(2, 0.9, 0.7), candidate(1, 0.9, 0.7), candidate(0, 0.8, 0.9)]
    assert [c.number for c in rank(tied)] == [1, 2, 3, 0]
    assert choose(tied).number == 1


def test_nothing_finished_is_said() -> None:
    with pytest.raises(NothingFinished, match="nothing to export"):
        choose([])


def test_averages_do_not_lose_precision() -> None:
    parts = [np.full((3, 2), value, dtype=np.float32) for value in (0.1, 0.2, 0.6)]
    assert average(parts).dtype == np.float32
    np.testing.assert_allclose(average(parts), 0.3, rtol=1e-6)
