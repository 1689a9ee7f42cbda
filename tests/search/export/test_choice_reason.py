"""Why several recipes make the final model, or one alone does, in a sentence that fits the numbers in it."""

from __future__ import annotations

import pytest

from search.export.rationale import choice_reason
from search.statistics.blending.ensemble_selection import Choice
from search.statistics.member_names import MemberName
from search.statistics.paired_gain import Gain

LEADER, OTHER = MemberName(trial=3), MemberName(trial=7)


def reason(mean: float, *members: MemberName) -> str:
    weights = tuple(1.0 / len(members) for _ in members)
    gain = Gain(mean=mean, error=0.01)
    return choice_reason(
        Choice(names=members, blend_weights=weights, method="equal", scored=(LEADER, OTHER), gain=gain), "accuracy"
    )


@pytest.mark.parametrize(
    ("mean", "says"),
    [(0.02, "gains +2.0 ± 1.0 points over trial 3 alone"), (0.005, "That is no clear loss"),
     (-0.015, "differs by -1.5 ± 1.0 points from trial 3 alone, out-of-fold, nested. That is no clear loss")],
)  # fmt: skip
def test_a_mean_that_is_used(mean: float, says: str) -> None:
    sentence = reason(mean, LEADER, OTHER)
    assert sentence.startswith("The average of trials 3, 7") and says in sentence
    assert ("no clear loss" in sentence) == (mean < 0.01)


def test_a_mean_that_is_left_out() -> None:
    sentence = reason(-0.03, LEADER)
    assert sentence.startswith("Trial 3 alone: ") and sentence.endswith(
        "differs by -3.0 ± 1.0 points from it, out-of-fold, nested: a clear loss."
    )
