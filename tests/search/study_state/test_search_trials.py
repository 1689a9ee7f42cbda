"""The scores by which trials and probes are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.statistics.ranking import averaging_gain
from search.study_state.search_trials import averaged_score, averaging_gain_of, candidates
from storage.values import TrialStatus
from tests.search.study_state.test_time_budget import record
from trainer.recipe.recipe import LINEAR_PROBE


def test_a_probe_gains_less_by_averaging_than_a_network_that_differs_as_much() -> None:
    tuned = replace(record(0, 1.0), value=0.8, brier=0.3, ambiguity=0.05)
    probe = replace(tuned, number=1, recipe={**(tuned.recipe or {}), "method": LINEAR_PROBE})
    assert averaging_gain_of(tuned, "accuracy") == averaging_gain("accuracy", 0.8, 0.3, 0.05)
    assert averaging_gain_of(probe, "accuracy") == averaging_gain("accuracy", 0.8, 0.3, 0.05, is_probe=True)
    assert averaged_score(probe, "accuracy") == pytest.approx(0.8 + averaging_gain_of(probe, "accuracy"))
    first, second = candidates([tuned, probe, replace(tuned, number=2, status=TrialStatus.PRUNED)], "accuracy")
    assert first.averaged > second.averaged and first.objective > second.objective
