"""The work queue: work items, leased to workers, from their creation to their stored outcome.

Leases make sure that a dead worker's item goes to another one. Fencing makes sure that each item is stored once: the
attempt number grows with every `WorkQueue.take`, and each write of a holder names its attempt. Once another worker has
taken the item, the writes of the former holder change nothing and return False, however late they arrive. So killed,
suspended or disconnected workers neither lose a result nor store a second one.

Each method is one short transaction. All methods but `WorkQueue.renew` are repeated during an outage
(`storage.database.outages.repeatable`).

Only this module, `storage.queue.pausing`, `storage.queue.settle` and `storage.queue.recovery` write to
``retable_work``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Study, Work, columns_of
from storage.errors import StorageError, UnknownStudyError
from storage.queue.conditions import is_for_home, is_held_by, is_settled, is_waiting, may_begin_trial
from storage.queue.items import WorkItem, leased_item
from storage.queue.pausing import Choice, PausingQueue
from storage.queue.settle import MAX_LOST_WORKERS, count_lost_workers, give_up, settle
from storage.records.trial_rows import delete_outcome, is_probe
from storage.values import Failure, StudyState, TrialOutcome, TrialStatus, WorkKind, WorkState, recipe_hash


class WorkQueue(PausingQueue):
    """Work items of all studies of one database: creating, leasing and settling them, beside all queries."""

    def __init__(self, database: Database, *, max_lost_workers: int = MAX_LOST_WORKERS) -> None:
        super().__init__(database)
        self._max_lost_workers = max_lost_workers

    @repeatable
    def add(
        self,
        study_id: int,
        kind: WorkKind,
        *,
        split: int,
        seed: int,
        recipe: Mapping[str, Any],
        note: Mapping[str, Any] | None = None,
        home: str | None = None,
    ) -> int:
        """Queue an item with a given recipe and return its id.

        A second call with the same study, kind, split, seed and recipe returns the id of the first item in whatever
        state it is, and leaves its ``note``. While the item is queued, the second call replaces its ``home``.

        Args:
            home: identity of the only home whose workers may take the item (see `take`); None: any worker may.
        """
        key = {
            "study_id": study_id,
            "kind": WorkKind(kind).value,
            "split": split,
            "seed": seed,
            "recipe_hash": recipe_hash(recipe),
        }
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(Work)
                .values(**key, **_initial_values(note), recipe=dict(recipe), home=home, created=self._database.clock())
                .on_conflict_do_update(
                    index_elements=list(key), set_={"home": home}, where=Work.state == WorkState.QUEUED.value
                )
            )
            return connection.execute(select(Work.id).filter_by(**key)).scalar_one()

    @repeatable
    def take(
        self,
        study_id: int,
        worker: str,
        lease_seconds: float,
        kinds: Collection[WorkKind] = tuple(WorkKind),
        *,
        home: str | None = None,
        skip: Collection[int] = (),
        promote: Choice | None = None,
    ) -> WorkItem | None:
        """Lease the next item to ``worker``; None if there is none.

        First come waiting items that were begun before (released, or their lease has run out), then waiting items with
        a given recipe, then the paused trial that ``promote`` chooses, then a new search item, if `may_begin`.
        A waiting item that has lost `MAX_LOST_WORKERS` workers is stored as failed and passed over. The state of the
        study limits the kinds (`storage.values.StudyState`).

        Args:
            worker: name of the process, unique among all that live.
            lease_seconds: after which other workers may take the item, unless `renew` extends the lease.
            kinds: only items of these kinds.
            home: identity of the folder in which this worker keeps weights (`search.runtime.home.Home`). Items that are
                bound to a home go only to its workers.
            skip: ids of waiting items to leave to other workers.
            promote: chooses a paused trial; called once, inside the transaction. None: paused trials stay.

        Raises:
            UnknownStudyError: no such study.
            StorageUnavailableError: the database does not answer. If it had leased an item before the connection
                broke, that item waits until the lease runs out.
        """
        with self._database.writing() as connection:
            # The lock serialises the workers that take from one study: counting search items and inserting one must
            # not interleave. "No key" lets other transactions store results, whose foreign keys refer to the study.
            state = connection.execute(
                select(Study.state).where(Study.id == study_id).with_for_update(key_share=True)
            ).scalar_one_or_none()
            if state is None:
                raise UnknownStudyError(f"no study has the id {study_id} in {self._database.name}")
            if state == StudyState.PAUSED:
                return None
            allowed = {WorkKind(kind) for kind in kinds}
            if state == StudyState.STOPPED:
                allowed -= {WorkKind.SEARCH}
            row = self._next_waiting(connection, study_id, allowed, home, skip)
            if row is None and WorkKind.SEARCH in allowed and promote is not None:
                row = self._promoted(connection, study_id, promote)
            if row is None and WorkKind.SEARCH in allowed:
                row = self._create_search_item(connection, study_id)
            if row is None:
                return None
            connection.execute(update(Study).where(Study.id == study_id).values(served=self._database.clock()))
            return self._lease(connection, row, worker, lease_seconds)

    @repeatable
    def assign_trial(
        self, item: WorkItem, number: int, recipe: Mapping[str, Any], note: Mapping[str, Any] | None = None
    ) -> WorkItem | None:
        """Record the Optuna trial and the full recipe of a search item, before its training begins.

        Args:
            note: replaces the item's note; None: the note stays.

        Returns:
            The item with both. None if another worker has taken the item; then no item owns the trial, and
            `storage.queue.recovery.WorkRecovery.orphans` returns it.

        Raises:
            StorageError: another item of this study has that trial number.
        """
        recipe_hash(recipe)  # raises if JSON cannot represent the recipe
        note = dict(item.note if note is None else note)
        if not self._update_held(item, trial_number=number, recipe=dict(recipe), note=note):
            return None
        return replace(item, trial_number=number, recipe=dict(recipe), note=note)

    def renew(self, item: WorkItem, lease_seconds: float) -> bool:
        """Extend the lease to ``lease_seconds`` from now, even if it has run out, unless another worker took the item.

        Not repeated in an outage: the holder calls again by itself and keeps track of the time.

        Returns:
            False if another worker has taken the item. The holder must then stop working on it.
        """
        return self._update_held(item, lease_until=self._database.clock() + lease_seconds)

    @repeatable
    def release(
        self, item: WorkItem, *, count_as_lost_worker: bool = False, note: Mapping[str, Any] | None = None
    ) -> bool:
        """End the lease, so that the next worker continues the same trial.

        Args:
            note: entries to add to the item's note.
            count_as_lost_worker: count this towards `MAX_LOST_WORKERS`. Set it where the item may be the cause (it ran
                its worker out of memory), not where the user interrupted the worker.

        Returns:
            False if another worker has taken the item.
        """
        lost = Work.lost_workers + 1 if count_as_lost_worker else Work.lost_workers
        added = {"note": {**item.note, **note}} if note else {}
        return self._update_held(item, state=WorkState.QUEUED.value, lease_until=None, lost_workers=lost, **added)

    @repeatable
    def discard(self, item: WorkItem) -> bool:
        """Delete a held search item, because there is nothing for it to train or its trial is given up.

        A call that is repeated after its answer was lost returns False.

        Returns:
            False if the item stays: another worker has taken it, or it has another trial than ``item``.
        """
        of_trial = (Work.kind == WorkKind.SEARCH.value, Work.trial_number.is_not_distinct_from(item.trial_number))
        with self._database.writing() as connection:
            deleted = connection.execute(delete(Work).where(*is_held_by(item), *of_trial).returning(Work.id))
            return deleted.one_or_none() is not None

    @repeatable
    def store(self, item: WorkItem, outcome: TrialOutcome) -> bool:
        """Store the outcome: record, curves, predictions and the item's final state, all or nothing.

        The caller then reports to Optuna what `unreported` returns, and confirms it with `mark_reported`. The stored
        record may differ from ``outcome``: it stays that of an earlier call, if that call succeeded and only its answer
        was lost.

        Returns:
            True if an outcome of this attempt is stored, by this call or an earlier one. False if another worker has
            taken the item; nothing is written then.

        Raises:
            StorageError: the item has no recipe (see `assign_trial`) and the outcome is not a failure.
        """
        failed = outcome.status is TrialStatus.FAILED
        with self._database.writing() as connection:
            held = select(*columns_of(Work)).where(*is_held_by(item)).with_for_update()
            row = connection.execute(held).one_or_none()
            if row is None:
                return self._is_settled_by(connection, item)
            if row.recipe is None and not failed:
                raise StorageError(f"work item {item.id} has no recipe yet: call assign_trial before store")
            settle(connection, row, outcome, row.attempt, self._database.clock)
            return True

    @repeatable
    def fail(self, item: WorkItem, failure: Failure, reason: str) -> bool:
        """Store the item as failed. Returns as `store`."""
        return self.store(item, TrialOutcome(status=TrialStatus.FAILED, failure=failure, reason=reason))

    @repeatable
    def mark_reported(self, work_id: int) -> None:
        """Record that Optuna knows the outcome of an item. Does nothing if the item is not settled."""
        with self._database.writing() as connection:
            connection.execute(update(Work).where(Work.id == work_id, is_settled()).values(is_reported=True))

    @repeatable
    def reopen(self, work_id: int, *, home: str | None = None) -> bool:
        """Delete the outcome of a confirmation or refit and queue the item again.

        For items that failed, and for refits whose weights lie in another home.

        Args:
            home: as in `add`.

        Returns:
            False if the item is not settled (perhaps another process has reopened it), or is a search item, whose
            outcome Optuna has.
        """
        with self._database.writing() as connection:
            row = connection.execute(
                select(Work.id)
                .where(Work.id == work_id, is_settled(), Work.kind != WorkKind.SEARCH.value)
                .with_for_update()
            ).one_or_none()
            if row is None:
                return False
            delete_outcome(connection, work_id)
            connection.execute(
                update(Work)
                .where(Work.id == work_id)
                .values(state=WorkState.QUEUED.value, is_reported=False, lost_workers=0, home=home)
            )
            return True

    @repeatable
    def withdraw(self, work_id: int) -> bool:
        """Delete a confirmation, refit or probe that waits for a worker. The caller has ended the probe's trial.

        A call that is repeated after its answer was lost returns False as well.

        Returns:
            False if the item stays: a worker holds it, it has an outcome, or it is a trial that may continue.
        """
        may_go = or_(Work.kind != WorkKind.SEARCH.value, is_probe(Work.note))
        with self._database.writing() as connection:
            deleted = connection.execute(
                delete(Work).where(Work.id == work_id, may_go, is_waiting(self._database.clock)).returning(Work.id)
            ).one_or_none()
            return deleted is not None

    def _next_waiting(
        self,
        connection: Connection,
        study_id: int,
        kinds: Collection[WorkKind],
        home: str | None,
        skip: Collection[int],
    ) -> Row[Any] | None:
        """The next waiting item, locked. Items that have lost too many workers fail on the way."""
        clock = self._database.clock
        candidates = (
            select(*columns_of(Work))
            .where(
                Work.study_id == study_id,
                Work.kind.in_([kind.value for kind in kinds]),
                is_waiting(clock),
                is_for_home(home),
                Work.id.not_in(list(skip)),
            )
            # Items that were begun come first: they own an Optuna trial, which the sampler counts as running.
            .order_by(Work.attempt == 0, Work.id)
            .limit(1)
            # A locked row is being renewed or stored at this moment: its holder is alive.
            .with_for_update(skip_locked=True)
        )
        while (row := connection.execute(candidates).one_or_none()) is not None:
            if count_lost_workers(row) < self._max_lost_workers:
                return row
            give_up(connection, row, clock)
        return None

    def _create_search_item(self, connection: Connection, study_id: int) -> Row[Any] | None:
        """A new search item, if the study may begin one. The caller holds the lock on the study."""
        # A statement of its own: on PostgreSQL the one that waited for the lock would count what was there before.
        may_begin = select(may_begin_trial(self._database.clock)).where(Study.id == study_id)
        if not connection.execute(may_begin).scalar_one():
            return None
        values = {"study_id": study_id, "kind": WorkKind.SEARCH.value, "split": 0, "seed": 0, **_initial_values(None)}
        statement = insert(Work).values(**values, created=self._database.clock()).returning(*columns_of(Work))
        return connection.execute(statement).one()

    def _lease(self, connection: Connection, row: Row[Any], worker: str, lease_seconds: float) -> WorkItem:
        connection.execute(
            update(Work)
            .where(Work.id == row.id)
            .values(
                state=WorkState.LEASED.value,
                attempt=row.attempt + 1,
                lost_workers=count_lost_workers(row),
                worker=worker,
                lease_until=self._database.clock() + lease_seconds,
            )
        )
        return leased_item(row, attempt=row.attempt + 1, worker=worker)

    def _update_held(self, item: WorkItem, **values: Any) -> bool:
        """Change the item, if its worker still holds it; False if not."""
        with self._database.writing() as connection:
            changed = connection.execute(
                update(Work).where(*is_held_by(item)).values(**values).returning(Work.id)
            ).one_or_none()
            return changed is not None

    def _is_settled_by(self, connection: Connection, item: WorkItem) -> bool:
        """Whether an earlier call with this very attempt stored its outcome."""
        settled = select(Work.id).where(
            Work.id == item.id, Work.attempt == item.attempt, Work.worker == item.worker, is_settled()
        )
        return connection.execute(settled).one_or_none() is not None


def _initial_values(note: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "state": WorkState.QUEUED.value,
        "is_reported": False,
        "attempt": 0,
        "lost_workers": 0,
        "note": dict(note or {}),
    }
