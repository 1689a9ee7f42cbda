"""The [confirm] table: defaults, errors, and changes while a study runs."""

from __future__ import annotations

import pytest

from studies.explain import differences, explain
from studies.load_study import load_study
from studies.spec import ConfirmSettings, StudyError


def test_confirmation_has_a_quarter_of_the_time_and_ten_finalists_by_default() -> None:
    assert load_study("quickstart").confirm == ConfirmSettings(finalists=10, rounds=3, share=0.25)
    changed = load_study("quickstart", ["confirm.rounds=0", "confirm.share=0.5"])
    assert (changed.confirm.rounds, changed.confirm.share) == (0, 0.5)
    assert ("confirm.rounds", "0") in explain(changed).settings


@pytest.mark.parametrize("wrong", ["confirm.share=1.0", "confirm.finalists=0", "confirm.rounds=-1", "confirm.round=1"])
def test_invalid_values_are_refused(wrong: str) -> None:
    with pytest.raises(StudyError, match=r"confirm\.(share|finalists|rounds?)|share|finalists|rounds"):
        load_study("quickstart", [wrong])


def test_it_may_change_while_a_study_runs() -> None:
    before, after = load_study("quickstart"), load_study("quickstart", ["confirm.rounds=1"])
    assert before != after and before.spec_hash == after.spec_hash
    assert differences(before, after) == []
