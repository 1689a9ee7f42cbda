"""Alembic runs this file for every command, on the connection of `storage.schema`, inside its transaction."""

from __future__ import annotations

from alembic import context

from storage.database.tables import Base
from storage.schema import VERSION_TABLE, is_ours

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # Optuna has its own table alembic_version in the same database.
    version_table=VERSION_TABLE,
    include_name=is_ours,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
