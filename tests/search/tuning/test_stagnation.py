"""``search.patience``: a search ends once further trials gain less than the noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.study_setup.create_study import create_study
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.worker.task import Task
from search.workflow.control import resume
from storage.stores import Stores
from storage.values import StudyState, WorkKind
from tests.search.instant_training import pretending
from tests.search.small_study import STUDY, make_context, study_plan

PATIENCE = 4


@pytest.fixture
def patient(stores: Stores, competition_folder: Path, tmp_path: Path) -> Iterator[StudyContext]:
    path = tmp_path / "colours.toml"
    path.write_text(STUDY.replace("[search]", f"[search]\npatience = {PATIENCE}"))
    stored = create_study(stores, study_plan(path, competition_folder, budget=30))
    made = make_context(stores, stored, competition_folder, tmp_path / "home")
    yield made
    made.loader.close()


def run(context: StudyContext, quality: Callable[[int], float]) -> int:
    """Work until the search is over; returns how many trials that took."""

    def of_trial(task: Task) -> float:
        assert task.item.trial_number is not None
        return quality(task.item.trial_number)

    pretended = pretending(context, of_trial)
    while (item := context.stores.queue.take(context.study.id, "w", 60.0, [WorkKind.SEARCH])) is not None:
        run_item(pretended, item, lambda: False)
    return context.stores.trials.count(context.study.id, WorkKind.SEARCH)


def state(context: StudyContext) -> tuple[StudyState, str]:
    study = context.stores.studies.get(context.study.name)
    return study.state, study.state_reason


def test_a_search_that_finds_nothing_better_stops_and_says_so(patient: StudyContext) -> None:
    assert run(patient, lambda number: 0.9 if number == 0 else 0.5) == PATIENCE + 1
    assert state(patient) == (StudyState.STOPPED, f"the last {PATIENCE} trials found nothing better than trial 0")


def test_a_search_that_still_gains_goes_on(patient: StudyContext) -> None:
    steps = 6
    assert run(patient, lambda number: min(0.2 + 0.13 * number, 0.98)) >= steps + PATIENCE
    assert state(patient)[0] is StudyState.STOPPED, "in the end it gains no more"


def test_who_resumes_it_is_given_as_many_trials_again(patient: StudyContext, url: str) -> None:
    first = run(patient, lambda number: 0.9 if number == 0 else 0.5)
    resume(patient.study.name, url)
    assert run(patient, lambda number: 0.5) == first + PATIENCE


def test_without_patience_the_budget_alone_counts(context: StudyContext) -> None:
    budget = context.study.budget
    assert run(context, lambda number: 0.5) == budget and state(context) == (StudyState.RUNNING, "")
