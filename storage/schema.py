"""Creating, upgrading and checking the tables: ours (by Alembic) and Optuna's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from storage.database.connection import Database
from storage.database.engine import BUSY_TIMEOUT
from storage.database.tables import TABLE_PREFIX
from storage.errors import NotSetUpError, SchemaError, StorageUnavailableError

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "retable_alembic_version"
MIGRATIONS = Path(__file__).parent / "migrations"

_ADVISORY_LOCK = 0x5E7AB1E  # any number that everybody who creates a schema agrees on


def create_schema(database: Database) -> None:
    """Make the database ready: create what is missing, upgrade what is older.

    Any number of processes may do it at once.
    To be called by `search start`; workers call `require_schema`. No worker should run while a schema is upgraded.

    Raises:
        SchemaError: the tables are of a revision that is not known here, or another release of Optuna made its own.
        StorageUnavailableError: the database does not answer, or another process has been creating for a minute.
    """
    from alembic import command

    from storage.optuna_storage import create_optuna_tables, open_optuna_storage

    if _revision(database) == head_revision():
        open_optuna_storage(database)
        return
    with _one_at_a_time(database):
        _refuse_unknown(database, _revision(database))
        # Optuna commits on connections of its own; it comes first, so that our version vouches for both.
        with database.own_errors():
            create_optuna_tables(database)
        with database.writing() as connection:
            command.upgrade(alembic_config(connection), "head")


def require_schema(database: Database) -> None:
    """Check that the tables are those of this release.

    Raises:
        NotSetUpError: nothing is there yet.
        SchemaError: it is of another revision; the message says what to do.
        StorageUnavailableError: the database does not answer.
    """
    revision = _revision(database)
    if revision is None:
        raise NotSetUpError(f"the database {database.name} has no Retable tables yet; `search start` sets it up")
    _refuse_unknown(database, revision)
    if revision != head_revision():
        raise SchemaError(
            f"the tables of {database.name} are of revision {revision}, this Retable needs {head_revision()}: stop its "
            "workers, then `search start` upgrades it"
        )


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's settings for our migrations, on a connection that is inside a transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The revision that this release's tables have."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """For Alembic: whether to look at a table. Everything within our tables, and nothing of Optuna's, is."""
    return kind != "table" or (name is not None and name.startswith(TABLE_PREFIX) and name != VERSION_TABLE)


def _revision(database: Database) -> str | None:
    with database.reading() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608
        return None if revision is None else str(revision)


def _refuse_unknown(database: Database, revision: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f"the tables of {database.name} are of revision {revision}, which this Retable does not know; install the "
            "Retable that made them, or name another database with --storage"
        )


@contextmanager
def _one_at_a_time(database: Database) -> Iterator[None]:
    """Hold other creators off. They cannot hold each other off by a lock in SQLite: Optuna writes on a connection of
    its own, which that lock would block as well.
    """
    if not database.is_sqlite:
        with database.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(f"{database.url.database}.lock", timeout=BUSY_TIMEOUT):
            yield
    except Timeout as error:
        raise StorageUnavailableError(f"another process has been setting {database.name} up for a minute") from error
