"""Laying the tables down: once, by anybody, and only those of this release."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, inspect, text

from storage import schema
from storage.database.blobs import pack
from storage.database.connection import Database, connect
from storage.database.tables import TABLE_PREFIX, Base
from storage.errors import SchemaError
from storage.optuna_storage import open_optuna_storage
from storage.records.datasets import DatasetStore
from storage.records.studies import StudyStore
from storage.records.trials import RunStore
from storage.records.workers import Role, WorkerStore
from storage.schema import VERSION_TABLE, alembic_config, create_schema, is_ours, require_schema
from tests.storage.samples import PROCESSES

NEWER = """
revision = "9999"
down_revision = "0007"

def upgrade():
    from alembic import op
    import sqlalchemy as sa
    op.add_column("retable_worker", sa.Column("mood", sa.Text()))
"""


@pytest.fixture
def newer_release(tmp_path: Path) -> Path:
    """A copy of the migrations with one revision more than this release has."""
    copy = tmp_path / "newer"
    shutil.copytree(schema.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "9999_newer.py").write_text(NEWER)
    return copy


def tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_make_what_the_code_declares(database: Database) -> None:
    with database.writing() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "include_name": is_ours, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    assert set(Base.metadata.tables) == {
        name for name in tables(database) if name.startswith(TABLE_PREFIX) and name != VERSION_TABLE
    }


def test_constraints_are_the_declared_ones(database: Database) -> None:
    """Alembic compares no check constraints."""
    with database.reading() as connection:
        found = inspect(connection)
        for table in Base.metadata.sorted_tables:
            declared = {c.name for c in table.constraints if c.name and str(c.name).startswith("ck_")}
            assert {check["name"] for check in found.get_check_constraints(table.name)} == declared


def test_downgrade_leaves_optunas_tables_alone(database: Database) -> None:
    with database.writing() as connection:
        command.downgrade(alembic_config(connection), "base")
    left = tables(database)
    assert {name for name in left if name.startswith(TABLE_PREFIX)} == {VERSION_TABLE}
    assert {"studies", "trials", "alembic_version"} <= left
    with pytest.raises(SchemaError, match="no Retable tables yet"):
        require_schema(database)
    create_schema(database)
    require_schema(database)


def test_an_empty_database_is_not_ready(empty_url: str) -> None:
    database = connect(empty_url)
    with pytest.raises(SchemaError, match="no Retable tables yet; `search start`"):
        require_schema(database)
    with pytest.raises(SchemaError):
        open_optuna_storage(database)
    create_schema(database)
    create_schema(database)
    require_schema(database)
    database.close()


def test_optunas_own_tables_may_be_there_already(empty_url: str) -> None:
    database = connect(empty_url)
    optuna.storages.RDBStorage(database.url.render_as_string(hide_password=False)).engine.dispose()
    create_schema(database)
    require_schema(database)
    database.close()


def test_a_newer_database_is_refused(database: Database, newer_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", newer_release)
        create_schema(database)
    for action in (require_schema, create_schema):
        with pytest.raises(SchemaError, match=r"newer Retable \(revision 9999"):
            action(database)


def test_an_older_database_is_refused_by_workers_and_upgraded_by_start(
    database: Database, newer_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", newer_release)
    with pytest.raises(SchemaError, match=r"older Retable \(revision 0007, this one needs 9999\)"):
        require_schema(database)
    create_schema(database)
    require_schema(database)
    with database.reading() as connection:
        assert "mood" in {column["name"] for column in inspect(connection).get_columns("retable_worker")}


def test_what_an_older_release_stored_is_still_there_after_the_upgrade(empty_url: str) -> None:
    database = connect(empty_url)
    with database.writing() as connection:
        command.upgrade(schema.alembic_config(connection), "0001")
        connection.execute(
            text("INSERT INTO retable_dataset VALUES ('f', '[]', '[]', '[]', :blob, NULL, '{}', 0)"),
            {"blob": b""},
        )
        connection.execute(
            text(
                "INSERT INTO retable_study VALUES "
                "(7, 'old', 'f', '{}', 'h', '{}', '[]', '{}', 3, NULL, 'running', '', 0)"
            )
        )
        connection.execute(
            text("INSERT INTO retable_worker VALUES ('w', 7, 'host', 1, 'cpu', 0, 0)"),
        )
    create_schema(database)
    require_schema(database)
    study = StudyStore(database).get("old")
    assert (study.id, study.budget, study.priority, study.served) == (7, 3, 0, None)
    (worker,) = WorkerStore(database).alive(1e12)
    assert (worker.role, worker.home) == (Role.WORKER, None)
    database.close()


def test_exports_of_an_older_release_get_room_for_scores(empty_url: str) -> None:
    """A database of revision 0002, with an export, made by its own release: the columns have no names here."""
    database = connect(empty_url)
    with database.writing() as connection:
        command.upgrade(schema.alembic_config(connection), "0002")
        connection.execute(
            text("INSERT INTO retable_dataset VALUES ('f', '[]', '[]', :tests, :blob, NULL, '{}', 0)"),
            {"blob": pack(np.zeros(0, np.int64)), "tests": '["a", "b"]'},
        )
        connection.execute(
            text(
                "INSERT INTO retable_study VALUES "
                "(7, 'old', 'f', '{}', 'h', '{}', '[]', '{}', 3, NULL, 'running', '', 0, 0, NULL, NULL, NULL)"
            )
        )
        connection.execute(
            text("INSERT INTO retable_export VALUES (3, 7, 0, 'out', '{}', 0.75, 0.01, :notes)"),
            {"notes": '{"trial": 4}'},
        )
    with pytest.raises(SchemaError, match=r"older Retable \(revision 0002"):
        require_schema(database)
    create_schema(database)
    runs, datasets = RunStore(database), DatasetStore(database)
    (export,) = runs.exports(7)
    assert (export.id, export.score, export.notes) == (3, 0.75, {"trial": 4})
    assert (export.forecast, export.public_score, export.private_score) == (None, None, None)
    assert datasets.get("f").public_images is None
    runs.record_scores(3, public=0.5)
    datasets.set_public_images("f", 2)
    assert runs.exports(7)[0].public_score == 0.5
    assert datasets.get("f").public_images == 2
    database.close()


def test_another_optuna_release_is_refused(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0.a'"))
    for action in (create_schema, open_optuna_storage):
        with pytest.raises(SchemaError, match="another release"):
            action(database)


def _create(url: str) -> None:
    database = connect(url)
    create_schema(database)
    require_schema(database)
    open_optuna_storage(database).get_all_studies()
    database.close()


def test_eight_processes_create_at_once(empty_url: str, processes: ProcessPoolExecutor) -> None:
    for future in [processes.submit(_create, empty_url) for _ in range(PROCESSES)]:
        future.result(timeout=120)
    database = connect(empty_url)
    with database.reading() as connection:
        for version_table in ("alembic_version", VERSION_TABLE):
            assert len(connection.execute(text(f"SELECT * FROM {version_table}")).all()) == 1
    database.close()


def test_trials_of_an_older_release_have_no_expected_average(empty_url: str) -> None:
    """A database of revision 0006, with a trial whose calibrated score goes."""
    database = connect(empty_url)
    with database.writing() as connection:
        command.upgrade(schema.alembic_config(connection), "0006")
        _insert(connection, "retable_dataset", fingerprint="f")
        _insert(connection, "retable_study", id=7, fingerprint="f", state="running")
        _insert(connection, "retable_work", id=5, study_id=7, kind="search", state="stored")
        trial = {"kind": "search", "status": "finished", "value": 0.75, "soft": 0.5, "calibrated": 0.6}
        _insert(connection, "retable_trial", id=3, work_id=5, study_id=7, **trial)
    create_schema(database)
    (record,) = RunStore(database).records(7)
    assert (record.value, record.soft) == (0.75, 0.5)
    assert (record.brier, record.ambiguity, record.temperature) == (None, None, None)
    with database.writing() as connection:
        command.downgrade(schema.alembic_config(connection), "0006")
    database.close()


def _insert(connection: Connection, name: str, **values: object) -> None:
    """A row with ``values``, and something of the right kind in every other column that needs it."""
    table = Table(name, MetaData(), autoload_with=connection)
    empty: dict[type, object] = {int: 0, float: 0.0, str: "", bytes: b"", bool: False, object: {}, dict: {}}
    needed = {c.name: empty[c.type.python_type] for c in table.columns if not c.nullable and c.name not in values}
    connection.execute(table.insert().values(**{**needed, **values}))
