"""``patience`` in the ``[search]`` table: a search stops if its latest trials gain no more than noise."""

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
def patient_study(stores: Stores, competition_folder: Path, tmp_path: Path) -> Iterator[StudyContext]:
    path = tmp_path / "colours.toml"
    path.write_text(STUDY.replace("[search]", f"[search]\npatience = {PATIENCE}"))
    stored = create_study(stores, study_plan(path, competition_folder, budget=30))
    made = make_context(stores, stored, competition_folder, tmp_path / "home")
    yield made
    made.loader.close()


def run(context: StudyContext, quality: Callable[[int], float]) -> int:
    """Work until the search is over; returns the number of trials."""

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


def test_a_search_that_finds_nothing_better_stops_with_a_reason(patient_study: StudyContext) -> None:
    assert run(patient_study, lambda number: 0.9 if number == 0 else 0.5) == PATIENCE + 1
    assert state(patient_study) == (StudyState.STOPPED, f"the last {PATIENCE} trials found nothing better than trial 0")


@pytest.mark.slow
def test_a_search_that_still_gains_continues(patient_study: StudyContext) -> None:
    steps = 6
    assert run(patient_study, lambda number: min(0.2 + 0.13 * number, 0.98)) >= steps + PATIENCE
    assert state(patient_study)[0] is StudyState.STOPPED, "the gains end at the last step"


@pytest.mark.slow
def test_a_resumed_search_has_its_full_patience_again(patient_study: StudyContext, url: str) -> None:
    first = run(patient_study, lambda number: 0.9 if number == 0 else 0.5)
    resume(patient_study.study.name, url)
    assert run(patient_study, lambda number: 0.5) == first + PATIENCE


def test_without_patience_only_the_budget_ends_a_search(context: StudyContext) -> None:
    budget = context.study.budget
    assert run(context, lambda number: 0.5) == budget and state(context) == (StudyState.RUNNING, "")
