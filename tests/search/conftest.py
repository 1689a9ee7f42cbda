"""Fixtures of the service's tests: the competition and study of `tests.search.colours` on a real SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from search.study_setup.create_study import found
from search.worker.study_context import Bench
from storage.database.outages import OUTAGE_TIMEOUT
from storage.records.studies import StoredStudy
from storage.stores import Ledger, open_ledger
from tests.search.colours import STUDY, founding, make_bench, write_competition


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
def ledger(url: str) -> Iterator[Ledger]:
    opened = open_ledger(url, create=True, outage_timeout=OUTAGE_TIMEOUT)
    yield opened
    opened.database.close()


@pytest.fixture
def stored(ledger: Ledger, study_file: Path, competition_folder: Path) -> StoredStudy:
    return found(ledger, founding(study_file, competition_folder))


@pytest.fixture
def bench(ledger: Ledger, stored: StoredStudy, competition_folder: Path, tmp_path: Path) -> Iterator[Bench]:
    made = make_bench(ledger, stored, competition_folder, tmp_path / "home")
    yield made
    made.loader.close()
