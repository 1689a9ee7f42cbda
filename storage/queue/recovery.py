"""Recovery from dead workers: expired leases go back to the queue, trials without an owner are found."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, func, or_, select, update

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Study, Work, columns_of
from storage.queue.conditions import is_expired
from storage.queue.settle import MAX_LOST_WORKERS, count_lost_workers, give_up
from storage.values import WorkKind, WorkState


class WorkRecovery:
    """Finds expired leases and orphaned trials. Any number of processes may call it at once, beside all other work.

    All methods are repeated during an outage (`storage.database.outages.repeatable`).
    """

    def __init__(self, database: Database, *, max_lost_workers: int = MAX_LOST_WORKERS) -> None:
        self._database = database
        self._max_lost_workers = max_lost_workers

    @repeatable
    def claim_sweeps(self, interval: float) -> set[int]:
        """Ids of the studies that no process has swept for ``interval`` seconds. The caller sweeps them now.

        Each due study goes to one caller. All others pay for one query. If the answer is lost in an outage, the studies
        are due again after ``interval``.
        """
        due = or_(Study.swept.is_(None), Study.swept <= self._database.clock() - interval)
        with self._database.reading() as connection:
            if connection.execute(select(Study.id).where(due).limit(1)).first() is None:
                return set()
        with self._database.writing() as connection:
            claim = update(Study).where(due).values(swept=self._database.clock()).returning(Study.id)
            return set(connection.execute(claim).scalars())

    @repeatable
    def sweep(self, study_id: int) -> int:
        """Queue the items whose lease has run out; fail those that have lost `MAX_LOST_WORKERS` workers.

        `storage.queue.work_queue.WorkQueue.take` does the same for the item that it returns. This method is needed
        where no worker takes items.

        Returns:
            The number of items that were queued or failed.
        """
        clock = self._database.clock
        expired = select(*columns_of(Work)).where(Work.study_id == study_id, is_expired(clock))
        with self._database.reading() as connection:
            if connection.execute(expired.limit(1)).first() is None:
                return 0
        with self._database.writing() as connection:
            rows = connection.execute(expired.with_for_update(skip_locked=True)).all()
            for row in rows:
                lost = count_lost_workers(row)
                if lost >= self._max_lost_workers:
                    give_up(connection, row, clock)
                    continue
                connection.execute(
                    update(Work)
                    .where(Work.id == row.id)
                    .values(state=WorkState.QUEUED.value, lease_until=None, lost_workers=lost)
                )
            return len(rows)

    @repeatable
    def expire_worker(self, name: str) -> int:
        """End the leases of a worker that is certainly dead, so that its items need not wait for them to run out.

        Args:
            name: exactly that of the worker.

        Returns:
            The number of items that the worker held.
        """
        clock = self._database.clock
        held = and_(Work.worker == name, Work.state == WorkState.LEASED.value)
        with self._database.writing() as connection:
            return len(
                connection.execute(update(Work).where(held).values(lease_until=clock()).returning(Work.id)).all()
            )

    @repeatable
    def orphans(self, study_id: int, running: Collection[int]) -> set[int]:
        """The running Optuna trials that no work item owns.

        They are left behind by a worker that died after Optuna had created its trial and before
        `storage.queue.work_queue.WorkQueue.assign_trial` recorded the number.

        Args:
            running: numbers of all RUNNING trials of Optuna's study, read before this call.

        Returns:
            A subset of ``running``. Empty as long as a live worker may still assign one of these trials to its item;
            call again later.
        """
        if not running:
            return set()
        search_item = and_(Work.study_id == study_id, Work.kind == WorkKind.SEARCH.value)
        owned = select(Work.trial_number).where(search_item, Work.trial_number.is_not(None))
        with self._database.reading() as connection:
            if set(running) <= set(connection.execute(owned).scalars()):
                return set()
        about_to_assign = and_(search_item, Work.state == WorkState.LEASED.value, Work.trial_number.is_(None))
        with self._database.writing() as connection:
            # A holder whose lease has run out may only be slow. It is fenced off first, so that it cannot assign a
            # trial that this method returns.
            connection.execute(
                update(Work)
                .where(about_to_assign, Work.lease_until <= self._database.clock())
                .values(state=WorkState.QUEUED.value, lease_until=None, lost_workers=Work.lost_workers + 1)
            )
            if connection.execute(select(func.count()).where(about_to_assign)).scalar_one():
                return set()
            return set(running) - set(connection.execute(owned).scalars())
