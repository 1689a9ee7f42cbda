"""Creating, upgrading and checking the tables."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from storage import schema
from storage.database.connection import Database, connect
from storage.database.tables import TABLE_PREFIX, Base
from storage.errors import SchemaError, StorageError
from storage.optuna_storage.fleet_storage import open_optuna_storage
from storage.records.exports import ExportStore
from storage.records.studies import StudyStore
from storage.schema import VERSION_TABLE, alembic_config, create_schema, head_revision, is_ours, require_schema
from tests.storage.samples import PROCESSES

NEWER = f"""
revision = "9999"
down_revision = "{head_revision()}"

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


@pytest.mark.parametrize("table", ["customers", "studies"])
def test_the_file_of_another_program_is_left_alone(tmp_path: Path, table: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute(f"CREATE TABLE {table} (name TEXT)")
        connection.commit()
    database = connect(f"sqlite:///{tmp_path / 'shop.db'}")
    with pytest.raises(SchemaError, match=rf"another program \(tables: '{table}'\): name another file with --storage"):
        create_schema(database)
    assert tables(database) == {table}
    database.close()


def test_migrations_create_the_declared_tables(database: Database) -> None:
    with database.writing() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "include_name": is_ours, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    assert set(Base.metadata.tables) == {
        name for name in tables(database) if name.startswith(TABLE_PREFIX) and name != VERSION_TABLE
    }


def test_constraints_are_the_declared_ones(database: Database) -> None:
    """Alembic does not compare check constraints."""
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
    with pytest.raises(SchemaError, match="no Retable tables yet; `search start --study NAME`"):
        require_schema(database)
    with pytest.raises(SchemaError):
        open_optuna_storage(database)
    create_schema(database)
    create_schema(database)
    require_schema(database)
    database.close()


def test_optunas_tables_may_exist_already(empty_url: str) -> None:
    database = connect(empty_url)
    optuna.storages.RDBStorage(database.url.render_as_string(hide_password=False)).engine.dispose()
    create_schema(database)
    require_schema(database)
    database.close()


def test_a_database_of_an_unknown_revision_is_refused(
    database: Database, newer_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", newer_release)
        create_schema(database)
    for action in (require_schema, create_schema):
        with pytest.raises(
            SchemaError, match=r"revision 9999, which this Retable does not know; install the Retable that"
        ):
            action(database)


@pytest.mark.parametrize("revision", ["0001", "0006"])
def test_a_database_of_a_removed_revision_is_refused(database: Database, revision: str) -> None:
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    for action in (require_schema, create_schema):
        with pytest.raises(SchemaError, match=rf"revision {revision}, which this Retable does not know"):
            action(database)


def test_a_database_of_the_first_revision_is_upgraded_once(empty_url: str) -> None:
    database = connect(empty_url)
    optuna.storages.RDBStorage(database.url.render_as_string(hide_password=False)).engine.dispose()
    with database.writing() as connection:
        command.upgrade(alembic_config(connection), "0007")
    with pytest.raises(SchemaError, match=r"revision 0007, this Retable needs .*: stop its workers"):
        require_schema(database)
    create_schema(database)
    require_schema(database)
    identity = database.identity
    create_schema(database)
    assert connect(empty_url).identity == identity
    assert set(Base.metadata.tables) <= tables(database)
    assert StudyStore(database).all() == [] and ExportStore(database).all(1) == []
    database.close()


def test_each_database_has_an_identity_and_a_copy_shares_it(tmp_path: Path) -> None:
    first, second = (connect(f"sqlite:///{tmp_path / name}") for name in ("first.db", "second.db"))
    for database in (first, second):
        create_schema(database)
    assert first.identity != second.identity and len(first.identity) == 32
    with closing(sqlite3.connect(tmp_path / "first.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    assert connect(f"sqlite:///{tmp_path / 'copy.db'}").identity == first.identity


@pytest.mark.parametrize("damage", ["DELETE FROM retable_identity", "UPDATE retable_identity SET identity = '../x'"])
def test_a_damaged_identity_is_refused(database: Database, damage: str) -> None:
    with database.writing() as connection:
        connection.execute(text(damage))
    with pytest.raises(StorageError, match="no valid identity"):
        _ = database.identity


def test_a_known_revision_is_refused_by_workers_and_upgraded_by_start(
    database: Database, newer_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = head_revision()
    monkeypatch.setattr(schema, "MIGRATIONS", newer_release)
    with pytest.raises(SchemaError, match=rf"revision {revision}, this Retable needs 9999: stop its workers"):
        require_schema(database)
    create_schema(database)
    require_schema(database)
    with database.reading() as connection:
        assert "mood" in {column["name"] for column in inspect(connection).get_columns("retable_worker")}


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


@pytest.mark.slow
def test_eight_processes_create_at_once(empty_url: str, processes: ProcessPoolExecutor) -> None:
    for future in [processes.submit(_create, empty_url) for _ in range(PROCESSES)]:
        future.result(timeout=120)
    database = connect(empty_url)
    with database.reading() as connection:
        for version_table in ("alembic_version", VERSION_TABLE):
            assert len(connection.execute(text(f"SELECT * FROM {version_table}")).all()) == 1
    database.close()
