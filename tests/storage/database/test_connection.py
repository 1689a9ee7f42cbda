"""Connections: settings, transactions, the clock, and the translation of errors."""

from __future__ import annotations

import builtins
import os
import pickle
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from sqlalchemy import insert, select, text

from storage.database.connection import Database, connect
from storage.database.outages import is_outage
from storage.database.tables import Worker
from storage.errors import SchemaError, StorageError, StorageUnavailableError
from storage.optuna_storage.fleet_storage import open_optuna_storage
from storage.records.workers import WorkerStore
from storage.schema import create_schema
from tests.storage.samples import StandingClock


def test_sqlite_settings_survive_pickling(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path / 'a.db'}")
    for opened in (database, pickle.loads(pickle.dumps(database))):
        with opened.writing() as connection:
            settings = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            }
        assert settings == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 60_000, "foreign_keys": 1}


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640)])
def test_the_umask_decides_who_may_write_to_a_sqlite_database(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        database = connect(f"sqlite:///{tmp_path / 'a.db'}")
        with database.writing() as connection:
            connection.execute(text("CREATE TABLE numbers (number)"))
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), mode)
    with (
        pytest.raises(StorageError, match=r"cannot be written to: .*readonly.*chmod g\+w .*a\.db .*a\.db-wal"),
        database.writing() as connection,
    ):
        connection.execute(text("PRAGMA query_only = ON"))
        connection.execute(text("INSERT INTO numbers VALUES (1)"))


def test_sqlite_writers_wait_and_readers_do_not(tmp_path: Path) -> None:
    """BEGIN IMMEDIATE: the lock is held from the start of a writing transaction, before it writes."""
    database = pickle.loads(pickle.dumps(connect(f"sqlite:///{tmp_path / 'a.db'}")))
    other = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    with database.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with database.reading():
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()


def test_postgresql_settings_survive_pickling(postgres: Any) -> None:
    url = postgres.create()
    database = connect(url)
    for opened in (database, pickle.loads(pickle.dumps(database))):
        with opened.reading() as connection:
            show = lambda name: connection.execute(text(f"SHOW {name}")).scalar_one()  # noqa: E731
            assert [show("timezone"), show("idle_in_transaction_session_timeout")] == ["UTC", "1min"]
        opened.close()
    postgres.drop(url)


def test_now_is_unix_time(url: str) -> None:
    database = connect(url)
    before = time.time()
    now = database.now()
    assert before - 0.01 <= now <= time.time() + 0.01
    database.close()


def test_a_transaction_that_raises_is_rolled_back(database: Database) -> None:
    worker = {"name": "w", "host": "h", "pid": 1, "device": "cpu", "started": 0.0, "seen": 0.0}
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute(insert(Worker).values(**worker))
        raise RuntimeError
    with database.reading() as connection:
        assert connection.execute(select(Worker.name)).all() == []


def test_sixteen_threads_share_a_database(database: Database) -> None:
    """Threads wait for one another where there are more of them than pooled connections."""
    workers = WorkerStore(database)
    threads = [
        threading.Thread(target=workers.heartbeat, args=[f"w{n}"], kwargs={"host": "h", "pid": n, "device": "cpu"})
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers.alive(within_seconds=1)) == 16


class TestErrors:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"nowhere of the database .* does not exist"):
            connect(f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}")

    def test_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match=r"file is a file, not a folder that could hold the database a\.db"):
            connect(f"sqlite:///{tmp_path / 'file' / 'a.db'}")

    def test_folder_instead_of_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="is a folder"):
            connect(f"sqlite:///{tmp_path}")

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "a.db").write_text("no database " * 100)
        with pytest.raises(StorageError, match="not a database") as caught:
            create_schema(connect(f"sqlite:///{tmp_path / 'a.db'}"))
        assert not is_outage(caught.value)

    def test_a_missing_driver_names_the_package_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real_import = builtins.__import__

        def without_psycopg(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.split(".")[0] == "psycopg":
                raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
            return real_import(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without_psycopg)
        with pytest.raises(StorageError) as caught:
            connect("postgresql://ann:secret@localhost/db")
        assert "pip install -e '.[postgres]'" in str(caught.value)

    def test_a_server_that_is_not_there_is_an_outage(self) -> None:
        pytest.importorskip("psycopg")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(StorageUnavailableError) as caught:
            connect(f"postgresql://ann:s3cr3t@127.0.0.1:{port}/db").now()
        assert is_outage(caught.value)
        assert f"ann:***@127.0.0.1:{port}/db does not answer" in str(caught.value)
        assert "s3cr3t" not in str(caught.value) + str(caught.value.__cause__)

    def test_a_connection_that_the_server_ends_is_an_outage(self, postgres: Any) -> None:
        url = postgres.create()
        database = connect(url)
        with pytest.raises(StorageUnavailableError), database.reading() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert database.now() > 0, "the next call connects again"
        database.close()
        postgres.drop(url)

    def test_a_pooled_connection_that_the_server_ended_is_replaced(self, postgres: Any) -> None:
        url = postgres.create()
        database, killer = connect(url), connect(url)
        with database.reading() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with killer.reading() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        assert database.now() > 0
        for opened in (database, killer):
            opened.close()
        postgres.drop(url)

    def test_an_outage_inside_optuna_is_recognised(self, postgres: Any) -> None:
        url = postgres.create_with_schema()
        database = connect(url)
        optuna_storage = open_optuna_storage(database)
        optuna_storage.get_all_studies()
        database.close()
        admin = connect(postgres.url.render_as_string(hide_password=False))
        with admin.writing() as connection:
            connection.execute(text(f"ALTER DATABASE {database.url.database} ALLOW_CONNECTIONS false"))
        admin.close()
        with pytest.raises(Exception) as caught:
            optuna_storage.get_all_studies()
        assert not isinstance(caught.value, StorageError)
        assert is_outage(caught.value)
        postgres.drop(url)

    def test_a_locked_sqlite_file_is_an_outage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("storage.database.engine.BUSY_TIMEOUT", 0.0)
        database = connect(f"sqlite:///{tmp_path / 'a.db'}")
        database.now()
        other = connect(f"sqlite:///{tmp_path / 'a.db'}")
        with (
            other.writing(),
            pytest.raises(StorageUnavailableError, match="locked") as caught,
            database.writing(),
        ):
            pass
        assert is_outage(caught.value)

    def test_missing_tables_are_no_outage(self, empty_url: str) -> None:
        with pytest.raises(SchemaError, match="search start") as caught:
            WorkerStore(connect(empty_url, clock=StandingClock())).alive(1)
        assert not is_outage(caught.value)

    def test_messages_contain_no_row(self, database: Database) -> None:
        with pytest.raises(StorageError) as caught, database.writing() as connection:
            connection.execute(insert(Worker).values(name="w", host="s3cr3t", pid=1))
        assert "s3cr3t" not in str(caught.value)

    def test_other_errors_are_no_outage(self) -> None:
        assert not is_outage(ValueError("x"))


def test_errors_of_the_sqlite_driver_without_a_name_are_no_outages() -> None:
    for error in (sqlite3.OperationalError("Could not decode to UTF-8"), sqlite3.InterfaceError("bad parameter")):
        assert not is_outage(sqlalchemy.exc.OperationalError("SELECT 1", None, error))
