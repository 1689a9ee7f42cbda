"""Which processes live: for people to see. Who owns what is decided by leases alone (`storage.queue.work_queue`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Worker

FORGET_AFTER = 86_400.0
"""Seconds after its last sign of life at which a worker that never signed off is dropped from the list."""


class Role(StrEnum):
    """What a process is there for."""

    WORKER = "worker"
    """It trains."""
    SUPERVISOR = "supervisor"
    """It waits for a study to end, and exports it then."""


@dataclass(frozen=True, kw_only=True)
class WorkerRecord:
    """A process; times are Unix seconds on the database's clock."""

    name: str
    study_id: int | None
    """The study that it is at; None between studies."""
    host: str
    pid: int
    role: Role
    device: str
    home: str | None
    """Identity of the folder in which it keeps weights."""
    started: float
    seen: float


class WorkerStore:
    """The list of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def heartbeat(
        self,
        name: str,
        *,
        host: str,
        pid: int,
        device: str,
        role: Role = Role.WORKER,
        home: str | None = None,
        study_id: int | None = None,
    ) -> None:
        """Sign on, or give a sign of life. Not repeated in an outage: a later one does as well."""
        now = self._database.clock()
        changes = {
            "study_id": study_id,
            "host": host,
            "pid": pid,
            "role": role.value,
            "device": device,
            "home": home,
            "seen": now,
        }
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(Worker)
                .values(name=name, started=now, **changes)
                .on_conflict_do_update(index_elements=["name"], set_=changes)
            )
            connection.execute(delete(Worker).where(Worker.seen < now - FORGET_AFTER))

    sign_on = repeatable(heartbeat)
    """`heartbeat`, repeated in an outage."""

    def sign_off(self, name: str) -> None:
        """Leave the list; nothing happens if the worker is not on it. Not repeated in an outage: the process ends."""
        self._forget(Worker.name == name)

    @repeatable
    def remove(self, name: str) -> None:
        """Take a process off the list that is certainly dead; ``name`` may be the beginning of its name."""
        self._forget(Worker.name.startswith(name, autoescape=True))

    def _forget(self, which: ColumnElement[bool]) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(Worker).where(which))

    @repeatable
    def alive(self, within_seconds: float) -> list[WorkerRecord]:
        """Processes that gave a sign of life during the last ``within_seconds``, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*Worker.__table__.columns)
                .where(Worker.seen >= self._database.clock() - within_seconds)
                .order_by(Worker.name)
            )
            return [WorkerRecord(**{**row._mapping, "role": Role(row.role)}) for row in rows]
