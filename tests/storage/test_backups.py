"""A database is restored from a backup as `docs/running.md` describes it."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url

from storage.database.connection import connect
from storage.schema import create_schema
from storage.stores import Stores, open_stores
from tests.databases import PostgresServer, client_program
from tests.storage.samples import stored_dataset


def fill(url: str) -> Stores:
    """Store a study with an Optuna trial."""
    stores = open_stores(url, create=True)
    dataset = stores.datasets.add(stored_dataset())
    stores.studies.create("kept", fingerprint=dataset.fingerprint, spec={}, spec_hash="", file_spec={}, budget=7)
    import optuna

    study = optuna.create_study(study_name="kept", storage=stores.optuna_storage)
    study.enqueue_trial({"lr": 0.25})
    return stores


def check(stores: Stores) -> None:
    """Check that everything of `fill` is there, and that the database can be written to."""
    assert [(study.name, study.budget) for study in stores.studies.all()] == [("kept", 7)]
    assert stores.datasets.get(stored_dataset().fingerprint).test_ids == stored_dataset().test_ids
    trial = stores.optuna_study("kept").ask()
    assert trial.suggest_float("lr", 0, 1) == 0.25
    create_schema(stores.database)
    stores.studies.set_budget(stores.studies.get("kept").id, 8)
    stores.database.close()


def test_a_copy_of_a_sqlite_database_made_while_it_is_written(tmp_path: Path) -> None:
    stores = fill(f"sqlite:///{tmp_path / 'retable.db'}")
    with stores.database.writing() as writer:
        writer.exec_driver_sql("UPDATE retable_study SET budget = 99")
        with sqlite3.connect(tmp_path / "retable.db") as connection:
            connection.execute(f"VACUUM INTO '{tmp_path / 'backup.db'}'")
        connection.close()
    stores.database.close()
    check(open_stores(f"sqlite:///{tmp_path / 'backup.db'}"))


@pytest.mark.slow
def test_a_dump_of_a_postgresql_database(postgres: PostgresServer, tmp_path: Path) -> None:
    source, target = postgres.create(), postgres.create()
    stores = fill(source)

    def plain(url: str) -> str:
        return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    dump = str(tmp_path / "backup.dump")
    subprocess.run(
        [client_program("pg_dump"), "--format=custom", f"--file={dump}", plain(source)], check=True, timeout=60
    )
    subprocess.run([client_program("pg_restore"), f"--dbname={plain(target)}", dump], check=True, timeout=60)
    stores.database.close()
    check(open_stores(target))
    connect(target).close()
    for url in (source, target):
        postgres.drop(url)
