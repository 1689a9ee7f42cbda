"""Fixtures of the tests of second studies: a first one with its export, and workers in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from search.study_state.study import Study
from search.workflow.second_study import command
from tests.search.small_study import work_on
from tests.search.workflow.second_study.first_study import FirstStudy


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, competition_folder: Path) -> Iterator[FirstStudy]:
    made = FirstStudy(tmp_path_factory.mktemp("first"), competition_folder)
    yield made
    made.context.loader.close()
    made.stores.database.close()


@pytest.fixture
def work_here(first: FirstStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process does the work of the commands' workers."""

    def work(*given: object, **options: object) -> None:
        context = first.context_of(next(each for each in given if isinstance(each, Study)))
        work_on(context)
        context.loader.close()

    for module, name in ((command, "run_search"), (command, "run_refits")):
        monkeypatch.setattr(module, name, work)
