"""Fixtures of the service's tests: competition and study of `tests.search.small_study` on a real SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from search.study_setup.create_study import create_study
from search.study_state.study import Study
from search.worker.study_context import StudyContext
from storage.database.outages import OUTAGE_TIMEOUT
from storage.stores import Stores, open_stores
from tests.search.small_study import STUDY, make_context, study_plan, write_competition


@pytest.fixture(scope="session")
def competition_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_competition(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "colours.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test module asks for both: ``pytest.mark.parametrize("dialect", DIALECTS, indirect=True)``."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def stores(url: str) -> Iterator[Stores]:
    opened = open_stores(url, create=True, outage_timeout=OUTAGE_TIMEOUT)
    yield opened
    opened.database.close()


@pytest.fixture
def stored(stores: Stores, study_file: Path, competition_folder: Path) -> Study:
    return create_study(stores, study_plan(study_file, competition_folder))


@pytest.fixture
def context(stores: Stores, stored: Study, competition_folder: Path, tmp_path: Path) -> Iterator[StudyContext]:
    made = make_context(stores, stored, competition_folder, tmp_path / "home")
    yield made
    made.loader.close()
