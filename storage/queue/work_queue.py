"""The work queue: what is to be done and who is doing it. With `storage.queue.recovery` the only writer of
``retable_work``.

A work item is handed out under a lease. The attempt number grows by one every time the item is handed out, and every
write of a holder names its attempt: once another worker has taken the item over, whatever the former holder still
sends writes nothing and returns False. So a result is stored once, however many workers were killed, suspended or cut
off in between.

Each method is one short transaction. All but `WorkQueue.renew`, whose caller asks again by itself, are repeated while
the database does not answer (`storage.database.outages.repeatable`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, and_, case, delete, exists, func, insert, or_, select, update

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.tables import Study, Trial, Work
from storage.errors import StorageError, UnknownStudyError
from storage.queue.items import (
    HeldItem,
    WaitingItem,
    WorkItem,
    is_at_home,
    is_begun_search,
    is_expired,
    is_held,
    is_live,
    is_settled,
    is_waiting,
    leased_item,
)
from storage.queue.settle import give_up, lost_workers, settle
from storage.records.trial_rows import TRIAL_COLUMNS, delete_outcome, trial_record
from storage.values import Failure, StudyState, TrialOutcome, TrialRecord, TrialStatus, WorkKind, WorkState, recipe_hash

MAX_ATTEMPTS = 5
"""Workers that an item may lose before it is taken to be what kills them. Machines that are switched off lose items
too: at five, bad luck alone does not fail a trial."""

_WORK = Work.__table__.columns


class WorkQueue:
    """Work items of all studies of one database."""

    def __init__(self, database: Database, *, max_attempts: int = MAX_ATTEMPTS) -> None:
        self._database = database
        self._max_attempts = max_attempts

    @repeatable
    def studies_with_work(self, *, home: str | None = None) -> list[int]:
        """Studies that seem to have something to hand out, in the order in which they deserve a worker.

        The higher priority comes first; of equal ones the study that fewer workers are busy with, then the one that
        has waited longest. Reads only, so that idle workers cost nothing; `take` decides.

        Args:
            home: as in `take`.
        """
        clock = self._database.clock
        of_study = Work.study_id == Study.id
        busy = select(func.count()).where(of_study, is_live(clock)).scalar_subquery()
        begun = select(func.count()).where(of_study, is_begun_search()).scalar_subquery()
        waiting = exists().where(
            of_study,
            is_waiting(clock),
            is_at_home(home),
            or_(Work.kind != WorkKind.SEARCH.value, Study.state == StudyState.RUNNING.value),
        )
        may_begin = and_(
            Study.state == StudyState.RUNNING.value,
            or_(Study.deadline.is_(None), Study.deadline > clock()),
            or_(Study.budget.is_(None), Study.budget > begun),
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Study.id)
                .where(Study.state != StudyState.PAUSED.value, or_(waiting, may_begin))
                .order_by(Study.priority.desc(), busy, func.coalesce(Study.served, 0.0), Study.id)
            )
            return list(rows.scalars())

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
    ) -> WorkItem | None:
        """Take the next piece of work, or None if there is none now.

        In this order: an item whose holder vanished or handed it back, an item with a given recipe, and a new search
        item while the study runs, its deadline is ahead and fewer search items than its budget exist, failed ones
        aside. An item that has lost `MAX_ATTEMPTS` workers is stored as failed on the way. A paused study gives
        nothing out, a stopped one no search.

        Args:
            worker: name of the taking process, unique among all that live.
            lease_seconds: how long the item is the worker's own without a `renew`.
            home: identity of the folder in which this worker keeps weights (`search.runtime.home.Home`). Items that are
            bound
                to a home are given only to workers of it.
            skip: ids of items that are left to others.

        Raises:
            UnknownStudyError: no such study.
            StorageUnavailableError: the database does not answer. If the answer alone was lost, the item comes back
                when its lease runs out.
        """
        with self._database.writing() as connection:
            # Takers of one study queue up here: counting the budget and inserting must not interleave. Writers of
            # results need no such lock; "no key" lets their foreign keys to the study through.
            study = connection.execute(
                select(Study.state, Study.budget, Study.deadline)
                .where(Study.id == study_id)
                .with_for_update(key_share=True)
            ).one_or_none()
            if study is None:
                raise UnknownStudyError(f"there is no study with the id {study_id} in {self._database.name}")
            if study.state == StudyState.PAUSED:
                return None
            wanted = {WorkKind(kind) for kind in kinds}
            if study.state == StudyState.STOPPED:
                wanted -= {WorkKind.SEARCH}
            row = self._waiting(connection, study_id, wanted, home, skip)
            if row is None and WorkKind.SEARCH in wanted and self._may_begin(connection, study_id, study):
                row = self._insert_search(connection, study_id)
            if row is None:
                return None
            connection.execute(update(Study).where(Study.id == study_id).values(served=self._database.clock()))
            return self._lease(connection, row, worker, lease_seconds)

    @repeatable
    def may_begin(self, study_id: int) -> bool:
        """Whether a new search item would be handed out now.

        Raises:
            UnknownStudyError: no such study.
        """
        with self._database.reading() as connection:
            study = connection.execute(
                select(Study.state, Study.budget, Study.deadline).where(Study.id == study_id)
            ).one_or_none()
            if study is None:
                raise UnknownStudyError(f"there is no study with the id {study_id} in {self._database.name}")
            return study.state == StudyState.RUNNING and self._may_begin(connection, study_id, study)

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

        The same (study, kind, split, seed, recipe) twice is one item: the id of the first is returned, whatever became
        of it, and ``note`` keeps its first content.

        Args:
            home: the only home whose workers may take it, see `take`; the latest caller's counts while it is queued.
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
                .values(**key, **_fresh(note), recipe=dict(recipe), home=home, created=self._database.clock())
                .on_conflict_do_update(
                    index_elements=list(key), set_={"home": home}, where=Work.state == WorkState.QUEUED.value
                )
            )
            found = select(Work.id).where(*(_WORK[name] == value for name, value in key.items()))
            return connection.execute(found).scalar_one()

    @repeatable
    def assign_trial(self, item: WorkItem, number: int, recipe: Mapping[str, Any]) -> WorkItem | None:
        """Record which Optuna trial and which complete recipe a search item became, before it trains.

        Returns:
            The item with both, or None if the lease was lost; then the trial is nobody's, and `orphans` will find it.

        Raises:
            StorageError: another item of this study has that number already.
        """
        recipe_hash(recipe)  # refuses what JSON cannot hold
        if not self._update_held(item, trial_number=number, recipe=dict(recipe)):
            return None
        return replace(item, trial_number=number, recipe=dict(recipe))

    def renew(self, item: WorkItem, lease_seconds: float) -> bool:
        """Hold the item for ``lease_seconds`` from now. False: it was lost; stop working on it and store nothing.

        A lease that ran out while nobody else took the item is renewed as well. Not repeated in an outage: the holder
        asks again itself, and keeps track of the time.
        """
        return self._update_held(item, lease_until=self._database.clock() + lease_seconds)

    @repeatable
    def release(self, item: WorkItem, *, count_attempt: bool = False) -> bool:
        """Give the item to whoever takes next, who continues the same trial. False: it was lost before.

        Args:
            count_attempt: the item is to blame (it ran its worker out of memory, say), not a person's Ctrl-C: count it
                towards `MAX_ATTEMPTS`.
        """
        lost = Work.lost + 1 if count_attempt else Work.lost
        return self._update_held(item, state=WorkState.QUEUED.value, lease_until=None, lost=lost)

    @repeatable
    def store(self, item: WorkItem, outcome: TrialOutcome) -> bool:
        """Store the outcome: record, curves, predictions and the item's new state, all or nothing.

        The record is then to be told to Optuna and confirmed by `mark_reported`; `unreported` finds what a crash left
        out. What counts is the record: it may hold an earlier call's outcome (see below), so tell what it says.

        Returns:
            True if this attempt's outcome is stored, also by an earlier call whose answer was lost. False if the item
            was lost; nothing is written then.

        Raises:
            StorageError: a status other than failed for an item whose recipe was never named.
        """
        failed = outcome.status is TrialStatus.FAILED
        with self._database.writing() as connection:
            row = connection.execute(select(*_WORK).where(*is_held(item)).with_for_update()).one_or_none()
            if row is None:
                return self._stored_before(connection, item)
            if row.recipe is None and not failed:
                raise StorageError(f"work item {item.id} has no recipe yet: assign_trial comes before store")
            settle(connection, row, outcome, row.attempt, self._database.clock)
            return True

    @repeatable
    def fail(self, item: WorkItem, failure: Failure, reason: str) -> bool:
        """Store the item as failed: nothing that the recipe could help. Returns as `store`."""
        return self.store(item, TrialOutcome(status=TrialStatus.FAILED, failure=failure, reason=reason))

    @repeatable
    def unreported(self, study_id: int, work_id: int | None = None) -> list[TrialRecord]:
        """Outcomes that are stored but not confirmed by `mark_reported`, oldest first; of one item, or of all.

        A worker that died in between leaves them; so does one that is about to tell right now, so whoever tells must
        put up with a trial that another has told meanwhile (``study.tell(..., skip_if_finished=True)``).
        """
        wanted = [Work.study_id == study_id, Work.told.is_(False)]
        if work_id is not None:
            wanted.append(Work.id == work_id)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*TRIAL_COLUMNS).join(Work, Work.id == Trial.work_id).where(*wanted).order_by(Trial.id)
            )
            return [trial_record(row) for row in rows]

    @repeatable
    def reopen(self, work_id: int, *, home: str | None = None) -> bool:
        """Queue a settled confirmation or refit once more, forgetting its outcome: it failed, or its weights are not in
        ``home``, to which it is bound from now on.

        Returns:
            False if the item is not settled (somebody reopened it first), or is a search trial, which Optuna knows.
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
                .values(state=WorkState.QUEUED.value, told=False, lost=0, home=home)
            )
            return True

    @repeatable
    def waiting(self, study_id: int, kind: WorkKind) -> list[WaitingItem]:
        """Items with a given recipe that wait for a worker: never begun, handed back or lost."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Work.id, Work.split, Work.recipe, Work.note)
                .where(Work.study_id == study_id, Work.kind == WorkKind(kind).value, is_waiting(self._database.clock))
                .where(Work.recipe.is_not(None))
                .order_by(Work.id)
            )
            return [WaitingItem(**row._mapping) for row in rows]

    @repeatable
    def withdraw(self, work_id: int) -> bool:
        """Take a confirmation or refit back that waits for a worker: it is as if it had never been asked for.

        Returns:
            False if a worker has it or it has an outcome; then it stays. A search trial, which Optuna knows, does too.
        """
        with self._database.writing() as connection:
            gone = connection.execute(
                delete(Work)
                .where(Work.id == work_id, Work.kind != WorkKind.SEARCH.value, is_waiting(self._database.clock))
                .returning(Work.id)
            ).one_or_none()
            return gone is not None

    @repeatable
    def mark_reported(self, work_id: int) -> None:
        """Confirm that Optuna knows the outcome of a stored item. May be repeated."""
        with self._database.writing() as connection:
            connection.execute(update(Work).where(Work.id == work_id, is_settled()).values(told=True))

    @repeatable
    def counts(self, study_id: int) -> dict[WorkKind, dict[WorkState, int]]:
        """How many items of each kind are in each state; zeros included. Those whose lease ran out are queued: the next
        worker goes on with them.
        """
        state = case((is_expired(self._database.clock), WorkState.QUEUED.value), else_=Work.state)
        result = {kind: dict.fromkeys(WorkState, 0) for kind in WorkKind}
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Work.kind, state, func.count()).where(Work.study_id == study_id).group_by(Work.kind, state)
            )
            for kind, found, count in rows:
                result[WorkKind(kind)][WorkState(found)] = count
        return result

    @repeatable
    def held(self, study_id: int) -> list[HeldItem]:
        """Who works on what, by item."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Work.id, Work.kind, Work.trial_number, Work.worker, Work.split, Work.note)
                .where(Work.study_id == study_id, is_live(self._database.clock))
                .order_by(Work.id)
            )
            return [HeldItem(**{**row._mapping, "kind": WorkKind(row.kind)}) for row in rows]

    @repeatable
    def states(self, study_id: int) -> dict[int, WorkState]:
        """The state of every item of a study by id."""
        with self._database.reading() as connection:
            rows = connection.execute(select(Work.id, Work.state).where(Work.study_id == study_id))
            return {row.id: WorkState(row.state) for row in rows}

    def _waiting(
        self,
        connection: Connection,
        study_id: int,
        kinds: Collection[WorkKind],
        home: str | None,
        skip: Collection[int],
    ) -> Row[Any] | None:
        """The next item to hand out again or for the first time, locked; those that lost too many workers fail."""
        clock = self._database.clock
        candidates = (
            select(*_WORK)
            .where(
                Work.study_id == study_id,
                Work.kind.in_([kind.value for kind in kinds]),
                is_waiting(clock),
                is_at_home(home),
                Work.id.not_in(list(skip)),
            )
            # What was begun comes first: it holds an Optuna trial, which its sampler takes for running.
            .order_by(Work.attempt == 0, Work.id)
            .limit(1)
            # A row that is locked is being renewed or stored at this moment: its holder is alive.
            .with_for_update(skip_locked=True)
        )
        while (row := connection.execute(candidates).one_or_none()) is not None:
            if lost_workers(row) < self._max_attempts:
                return row
            give_up(connection, row, clock)
        return None

    def _may_begin(self, connection: Connection, study_id: int, study: Row[str, int | None, float | None]) -> bool:
        if study.deadline is not None and connection.execute(select(self._database.clock() >= study.deadline)).scalar():
            return False
        if study.budget is None:
            return True
        begun = select(func.count()).where(Work.study_id == study_id, is_begun_search())
        count = connection.execute(begun).scalar_one()
        return bool(count < study.budget)

    def _insert_search(self, connection: Connection, study_id: int) -> Row[Any]:
        values = {"study_id": study_id, "kind": WorkKind.SEARCH.value, "split": 0, "seed": 0, **_fresh(None)}
        return connection.execute(insert(Work).values(**values, created=self._database.clock()).returning(*_WORK)).one()

    def _lease(self, connection: Connection, row: Row[Any], worker: str, lease_seconds: float) -> WorkItem:
        connection.execute(
            update(Work)
            .where(Work.id == row.id)
            .values(
                state=WorkState.LEASED.value,
                attempt=row.attempt + 1,
                lost=lost_workers(row),
                worker=worker,
                lease_until=self._database.clock() + lease_seconds,
            )
        )
        return leased_item(row, attempt=row.attempt + 1, worker=worker)

    def _update_held(self, item: WorkItem, **values: Any) -> bool:
        with self._database.writing() as connection:
            changed = connection.execute(
                update(Work).where(*is_held(item)).values(**values).returning(Work.id)
            ).one_or_none()
            return changed is not None

    def _stored_before(self, connection: Connection, item: WorkItem) -> bool:
        """Whether this very attempt has stored already: its first call succeeded but the answer was lost."""
        found = select(Work.id).where(
            Work.id == item.id, Work.attempt == item.attempt, Work.worker == item.worker, is_settled()
        )
        return connection.execute(found).one_or_none() is not None


def _fresh(note: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "state": WorkState.QUEUED.value,
        "told": False,
        "attempt": 0,
        "lost": 0,
        "note": dict(note or {}),
    }
