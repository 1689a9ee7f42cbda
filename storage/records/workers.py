"""Heartbeats of processes, for display alone. Leases decide which worker owns an item (`storage.queue.work_queue`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select

from storage.database import rows
from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import Worker, columns_of

FORGET_AFTER = 86_400.0
"""Seconds after its last heartbeat at which a process that never signed off is removed from the list."""
SEEN_WITHIN = 75.0
"""Seconds without a heartbeat after which a process counts as dead."""


class Role(StrEnum):
    """The task of a process."""

    WORKER = "worker"
    """Trains."""
    SUPERVISOR = "supervisor"
    """Waits for the end of a study and then exports it."""


@dataclass(frozen=True, kw_only=True)
class WorkerRecord:
    """A process of the list. Times are Unix seconds on the database's clock."""

    name: str
    study_id: int | None
    """The study that it works on; None between studies."""
    host: str
    pid: int
    role: Role
    device: str
    home: str | None
    """Identity of the folder in which it keeps weights."""
    started: float
    """Its first heartbeat."""
    seen: float
    """Its latest heartbeat."""


_WORKER_RULES = {
    **dict.fromkeys(("name", "host", "device"), rows.text()),
    "study_id": rows.optional(rows.integer(0)),
    "pid": rows.integer(0),
    "role": rows.one_of(Role),
    "home": rows.optional(rows.text()),
    **dict.fromkeys(("started", "seen"), rows.moment()),
}


class WorkerStore:
    """The list of running processes.

    `heartbeat` and `sign_off` are not repeated during an outage: the next heartbeat follows soon, and a process that
    ends does not wait. `sign_on` is a heartbeat that is repeated.
    """

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
        """Record that the process is alive; adds it to the list if necessary.

        Also removes all processes whose latest heartbeat is older than `FORGET_AFTER`.
        """
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
    """`heartbeat`, but repeated in an outage."""

    def sign_off(self, name: str) -> None:
        """Remove the calling process from the list, if it is listed."""
        self._delete(Worker.name == name)

    @repeatable
    def remove(self, name: str) -> None:
        """Remove a process that is certainly dead, by its exact name."""
        self._delete(Worker.name == name)

    @repeatable
    def alive(self, within_seconds: float) -> list[WorkerRecord]:
        """Processes with a heartbeat in the last ``within_seconds``, by name."""
        with self._database.reading() as connection:
            found = connection.execute(
                select(*columns_of(Worker))
                .where(Worker.seen >= self._database.clock() - within_seconds)
                .order_by(Worker.name)
            )
            return [
                WorkerRecord(**{**check_row(Worker.__tablename__, row._mapping, _WORKER_RULES), "role": Role(row.role)})
                for row in found
            ]

    def _delete(self, condition: ColumnElement[bool]) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(Worker).where(condition))
