"""Creates, upgrades and checks the tables: Retable's with Alembic, and Optuna's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from storage.database.connection import Database
from storage.database.locks import Purpose, exclusive
from storage.database.tables import TABLE_PREFIX
from storage.errors import NotSetUpError, SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "retable_alembic_version"
OPTUNA_TABLE = "version_info"
"""The first table of an Optuna database, which may be there before any study of ours."""
MIGRATIONS = Path(__file__).parent / "migrations"


def create_schema(database: Database) -> None:
    """Create missing tables and upgrade older ones. Does nothing if all are current, so it may be called again.

    `search start` calls this, workers call `require_schema`. Any number of processes may call it at once, but no worker
    should run during an upgrade.

    Raises:
        SchemaError: the revision of the tables is unknown, another release of Optuna made its tables, or an SQLite file
            holds those of another program. Nothing was created.
        StorageUnavailableError: the database does not answer.
    """
    from alembic import command

    from storage.optuna_storage.fleet_storage import create_optuna_tables, open_optuna_storage

    if _revision(database) == head_revision():
        open_optuna_storage(database)
        return
    with exclusive(database, Purpose.TABLES):
        revision = _revision(database)
        _refuse_unknown_revision(database, revision)
        if revision is None:
            _refuse_foreign_file(database)
        # Optuna commits on its own connections. It comes first, so that our revision implies that both are complete.
        with database.translated_errors():
            create_optuna_tables(database)
        with database.writing() as connection:
            command.upgrade(alembic_config(connection), "head")


def require_schema(database: Database) -> None:
    """Check that the tables have the revision of this release.

    Raises:
        NotSetUpError: there are no tables yet.
        SchemaError: they have another revision. The message says what to do.
        StorageUnavailableError: the database does not answer.
    """
    revision = _revision(database)
    if revision is None:
        raise NotSetUpError(
            f"the database {database.name} has no Retable tables yet; `search start --study NAME` creates them"
        )
    _refuse_unknown_revision(database, revision)
    if revision != head_revision():
        raise SchemaError(
            f"the tables of {database.name} have revision {revision}, this Retable needs {head_revision()}: stop its "
            "workers, then `search start --study NAME` upgrades them"
        )


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings for our migrations.

    Args:
        connection: inside a transaction, in which the migrations run; None: for reading the revisions alone.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The latest revision, which the tables of this release have."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Alembic's filter of objects: our tables with all their parts, but not Optuna's tables."""
    return kind != "table" or (name is not None and name.startswith(TABLE_PREFIX) and name != VERSION_TABLE)


def _revision(database: Database) -> str | None:
    """The revision of the tables; None if there are none."""
    with database.reading() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608
        return None if revision is None else str(revision)


def _refuse_foreign_file(database: Database) -> None:
    """Refuse an SQLite file with tables of another program alone. A database on a server may be shared."""
    if database.engine.dialect.name != "sqlite":
        return
    with database.reading() as connection:
        tables = inspect(connection).get_table_names()
    if tables and OPTUNA_TABLE not in tables and not any(name.startswith(TABLE_PREFIX) for name in tables):
        shown = ", ".join(map(repr, sorted(tables)[:4]))
        raise SchemaError(
            f"{database.name} is the database of another program (tables: {shown}): name another file with --storage"
        )


def _refuse_unknown_revision(database: Database, revision: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f"the tables of {database.name} have revision {revision}, which this Retable does not know; install the "
            "Retable that made them, or name another database with --storage"
        )
