"""What workers that died left behind, put back where the living find it."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, func, or_, select, update

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Study, Work
from storage.queue.items import is_expired
from storage.queue.settle import give_up, lost_workers
from storage.queue.work_queue import MAX_ATTEMPTS
from storage.values import WorkKind, WorkState


class WorkRecovery:
    """Expired leases and orphaned trials. Any process may look for them, at any time, beside any other."""

    def __init__(self, database: Database, *, max_attempts: int = MAX_ATTEMPTS) -> None:
        self._database = database
        self._max_attempts = max_attempts

    @repeatable
    def claim_sweeps(self, interval: float) -> set[int]:
        """Studies that nobody has looked after for ``interval`` seconds; they are the caller's to look after now.

        Of a thousand workers one does it, and the others pay one query.
        """
        due = or_(Study.swept.is_(None), Study.swept <= self._database.clock() - interval)
        with self._database.reading() as connection:
            if connection.execute(select(Study.id).where(due).limit(1)).first() is None:
                return set()
        with self._database.writing() as connection:
            claimed = update(Study).where(due).values(swept=self._database.clock()).returning(Study.id)
            return set(connection.execute(claimed).scalars())

    @repeatable
    def sweep(self, study_id: int) -> int:
        """Queue the items whose lease ran out, and fail those that have lost `MAX_ATTEMPTS` workers.

        `storage.queue.work_queue.WorkQueue.take` does the same for the item that it hands out; this is for when nobody
        takes.

        Returns:
            How many items were put back or failed.
        """
        clock = self._database.clock
        expired = select(*Work.__table__.columns).where(Work.study_id == study_id, is_expired(clock))
        with self._database.reading() as connection:
            if connection.execute(expired.limit(1)).first() is None:
                return 0
        with self._database.writing() as connection:
            rows = connection.execute(expired.with_for_update(skip_locked=True)).all()
            for row in rows:
                lost = lost_workers(row)
                if lost >= self._max_attempts:
                    give_up(connection, row, clock)
                    continue
                connection.execute(
                    update(Work)
                    .where(Work.id == row.id)
                    .values(state=WorkState.QUEUED.value, lease_until=None, lost=lost)
                )
            return len(rows)

    @repeatable
    def expire_worker(self, name: str) -> int:
        """End the leases of a worker that is certainly dead, so that what it held need not wait for them to run out.

        Args:
            name: of the worker, or the beginning of it.

        Returns:
            How many items it held.
        """
        clock = self._database.clock
        held = and_(Work.worker.startswith(name, autoescape=True), Work.state == WorkState.LEASED.value)
        with self._database.writing() as connection:
            return len(
                connection.execute(update(Work).where(held).values(lease_until=clock()).returning(Work.id)).all()
            )

    @repeatable
    def orphans(self, study_id: int, running: Collection[int]) -> set[int]:
        """Those of ``running`` that nobody works on or ever will: asked of Optuna by a worker that died right then.

        Args:
            running: numbers of Optuna's RUNNING trials of this study, read *before* this call. While any live holder
                may still be about to name one of them, none is returned; ask again later.
        """
        if not running:
            return set()
        named = select(Work.trial_number).where(
            Work.study_id == study_id, Work.kind == WorkKind.SEARCH.value, Work.trial_number.is_not(None)
        )
        with self._database.reading() as connection:
            if set(running) <= set(connection.execute(named).scalars()):
                return set()
        unnamed = and_(
            Work.study_id == study_id,
            Work.kind == WorkKind.SEARCH.value,
            Work.state == WorkState.LEASED.value,
            Work.trial_number.is_(None),
        )
        with self._database.writing() as connection:
            # A holder whose lease ran out may only be slow: it is fenced off first, so that it cannot name a trial
            # that is about to be ended as an orphan.
            connection.execute(
                update(Work)
                .where(unnamed, Work.lease_until <= self._database.clock())
                .values(state=WorkState.QUEUED.value, lease_until=None, lost=Work.lost + 1)
            )
            if connection.execute(select(func.count()).where(unnamed)).scalar_one():
                return set()
            return set(running) - set(connection.execute(named).scalars())
