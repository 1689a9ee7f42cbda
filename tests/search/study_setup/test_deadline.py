"""The deadline that ``--hours`` sets, keeps and corrects."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.study_setup.create_study import create_study, resume
from search.study_setup.deadline import LONGEST, SHORTEST, BadHours, Hours, parse_hours, set_deadline
from search.study_state.study import Study, read_study
from storage.stores import Stores
from tests.search.small_study import study_plan

HOUR = 3600.0


@pytest.fixture
def study(stores: Stores, study_file: Path, competition_folder: Path) -> Study:
    return create_study(stores, study_plan(study_file, competition_folder))


@given(hours=st.floats(SHORTEST, LONGEST))
def test_a_number_of_hours_is_read(hours: float) -> None:
    assert parse_hours(repr(hours)) == Hours(hours=hours, from_now=False)
    assert parse_hours(f" +{hours!r}") == Hours(hours=hours, from_now=True)


@given(text=st.text())
@example(text="inf")
@example(text="nan")
@example(text="-2")
@example(text="1e999")
@example(text="0")
@example(text="++2")
@example(text="8784.1")
def test_anything_else_is_refused_with_what_is_valid(text: str) -> None:
    try:
        hours = parse_hours(text).hours
    except BadHours as error:
        assert "0.01" in str(error) and "+2" in str(error) and repr(text) in str(error)
    else:
        assert SHORTEST <= hours <= LONGEST


def test_the_time_counts_from_the_begin_of_the_command(study: Study, stores: Stores) -> None:
    now = stores.database.now()
    study, line = set_deadline(stores, study, parse_hours("2"), begun=now - 30.0)
    assert study.deadline == pytest.approx(now - 30.0 + 2 * HOUR) and study.period_began == pytest.approx(now - 30.0)
    assert "deadline is" in line


def test_the_same_hours_typed_again_keep_the_deadline_and_others_correct_it(study: Study, stores: Stores) -> None:
    begun = stores.database.now()
    first, _ = set_deadline(stores, study, parse_hours("80"), begun=begun)
    again, line = set_deadline(stores, first, parse_hours("80"), begun=begun + HOUR)
    assert again.deadline == first.deadline and "stays" in line and "+80" in line
    corrected, line = set_deadline(stores, again, parse_hours("8"), begun=begun + HOUR)
    assert corrected.deadline == pytest.approx(begun + 8 * HOUR) and "instead of" in line
    longer, _ = set_deadline(stores, corrected, parse_hours("+8"), begun=begun + HOUR)
    assert longer.deadline == pytest.approx(begun + 9 * HOUR)
    kept, _ = set_deadline(stores, longer, None, begun=begun + 2 * HOUR)
    assert kept.deadline == longer.deadline


def test_after_the_deadline_the_same_hours_add_no_time(study: Study, stores: Stores) -> None:
    begun = stores.database.now() - 3 * HOUR
    first, _ = set_deadline(stores, study, parse_hours("2"), begun=begun)
    over, line = set_deadline(stores, first, parse_hours("2"), begun=begun + 3 * HOUR)
    assert over.deadline == first.deadline and "nothing more is trained" in line and "--hours +2" in line
    more, _ = set_deadline(stores, over, parse_hours("+2"), begun=begun + 3 * HOUR)
    assert more.deadline == pytest.approx(begun + 5 * HOUR) and more.period_began == pytest.approx(begun + 3 * HOUR)
    without, line = set_deadline(stores, first, None, begun=begun + 3 * HOUR)
    assert without.deadline is None and "none any more" in line


class TestNumberOfTrials:
    """``--hours`` without ``--trials`` ends a search at the deadline alone."""

    def test_of_a_new_study(self, stores: Stores, study_file: Path, competition_folder: Path) -> None:
        def budget(name: str, *, hours: bool, trials: int | None) -> int | None:
            plan = study_plan(study_file, competition_folder, name=name, budget=trials, until_deadline=hours)
            return create_study(stores, plan).budget

        assert budget("a", hours=True, trials=None) is None
        assert budget("b", hours=True, trials=7) == 7
        assert budget("c", hours=False, trials=None) == 3

    def test_of_a_study_that_is_resumed(self, stores: Stores, study_file: Path, competition_folder: Path) -> None:
        create_study(stores, study_plan(study_file, competition_folder, budget=None))

        def budget(*, hours: bool, trials: int | None = None) -> int | None:
            plan = study_plan(study_file, competition_folder, budget=trials, until_deadline=hours)
            return resume(stores, read_study(stores, "colours"), plan).budget

        assert budget(hours=True) is None
        assert budget(hours=False) == 3, "without a deadline the study file limits the search again"
        assert budget(hours=True, trials=9) == 9
        assert budget(hours=True) == 9, "a number that was given once stays"
