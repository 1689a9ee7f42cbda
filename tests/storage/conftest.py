"""Fixtures of the storage tests, which run on SQLite and PostgreSQL, each on a fresh database with all tables."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from storage.database.connection import Database, connect
from storage.records.datasets import DatasetStore
from storage.records.studies import StudyStore
from storage.records.study_rows import StoredStudy
from tests.databases import DIALECTS
from tests.storage.samples import PROCESSES, StandingClock, stored_dataset


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def database(url: str, clock: StandingClock) -> Iterator[Database]:
    """A database whose clock is the test's."""
    opened = connect(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Eight processes, spawned once per session."""
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def make_study(database: Database) -> Callable[..., StoredStudy]:
    def make(name: str = "tune", budget: int | None = 3, deadline: float | None = None) -> StoredStudy:
        DatasetStore(database).add(stored_dataset())
        return StudyStore(database).create(
            name,
            fingerprint="f" * 64,
            spec={"space": {"optimizer.lr": {"low": 1e-5}}},
            spec_hash="0" * 64,
            file_spec={"space": {}},
            overrides=["recipe.epochs=2"],
            budget=budget,
            deadline=deadline,
        )

    return make


@pytest.fixture
def study(make_study: Callable[..., StoredStudy]) -> StoredStudy:
    """A running study with a budget of 3."""
    return make_study()
