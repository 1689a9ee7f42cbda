"""Reading the work queue: which studies have work, which items are held or waiting, which outcomes are unreported."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, case, exists, func, or_, select

from storage.database.connection import Database
from storage.database.outages import repeatable
from storage.database.rows import check_row
from storage.database.tables import Study, Trial, Work
from storage.errors import UnknownStudyError
from storage.queue.conditions import (
    has_room,
    is_expired,
    is_for_home,
    is_live,
    is_paused,
    is_running,
    is_waiting,
    items_without_trial,
    may_begin_trial,
    planned_probes,
    waiting_probes,
)
from storage.queue.items import WORK_RULES, HeldItem, WaitingItem, WorkItem, checked_work
from storage.records.trial_rows import TRIAL_COLUMNS, trial_record
from storage.values import StudyState, TrialRecord, WorkKind, WorkState


class QueueReader:
    """Queries on the work items of all studies of one database.

    They change nothing and never make a writer wait. All are repeated during an outage
    (`storage.database.outages.repeatable`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @repeatable
    def studies_with_work(self, *, home: str | None = None) -> list[int]:
        """Ids of the studies that seem to have work for a worker of ``home``, in the order in which to try them.

        Higher priority comes first; then the study with fewer busy workers; then the one whose last item was taken
        longest ago. Cheap enough for idle workers to poll. `WorkQueue.take` makes the decision. Paused trials
        count as work of every home, because any worker may end them.

        Args:
            home: as in `WorkQueue.take`.
        """
        clock = self._database.clock
        of_study = Work.study_id == Study.id
        busy_workers = select(func.count()).where(of_study, is_live(clock)).scalar_subquery()
        has_waiting_item = exists().where(
            of_study,
            is_waiting(clock),
            is_for_home(home),
            or_(Work.kind != WorkKind.SEARCH.value, Study.state == StudyState.RUNNING.value),
        )
        has_paused_trial = and_(is_running(clock), exists().where(of_study, is_paused()))
        has_work = or_(has_waiting_item, has_paused_trial, may_begin_trial(clock))
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Study.id)
                .where(Study.state != StudyState.PAUSED.value, has_work)
                .order_by(Study.priority.desc(), busy_workers, func.coalesce(Study.served, 0.0), Study.id)
            )
            return list(rows.scalars())

    @repeatable
    def may_begin(self, study_id: int) -> bool:
        """Whether `WorkQueue.take` would create a new search item now.

        Raises:
            UnknownStudyError: no such study.
        """
        with self._database.reading() as connection:
            allowed = connection.execute(
                select(may_begin_trial(self._database.clock)).where(Study.id == study_id)
            ).scalar_one_or_none()
        if allowed is None:
            raise UnknownStudyError(f"no study has the id {study_id} in {self._database.name}")
        return bool(allowed)

    @repeatable
    def may_assign(self, study_id: int) -> bool:
        """Whether a search item may still take a trial: one that has none yet, or a new one."""
        clock = self._database.clock
        wanted = or_(may_begin_trial(clock), and_(is_running(clock), items_without_trial() > 0))
        with self._database.reading() as connection:
            return bool(connection.execute(select(wanted).where(Study.id == study_id)).scalar_one())

    @repeatable
    def has_room(self, item: WorkItem) -> bool:
        """Whether the budget of its study allows that a held search item becomes a trial that counts."""
        with self._database.reading() as connection:
            return bool(connection.execute(select(has_room(item.id)).where(Study.id == item.study_id)).scalar_one())

    @repeatable
    def probes(self, study_id: int) -> tuple[int, int]:
        """How many probes of a study were enqueued and not cancelled, and how many of them no search item has begun."""
        planned = planned_probes().correlate(Study).scalar_subquery()
        with self._database.reading() as connection:
            row = connection.execute(select(planned, waiting_probes()).where(Study.id == study_id)).one()
            return row[0], row[1]

    @repeatable
    def waiting(self, study_id: int, kind: WorkKind) -> list[WaitingItem]:
        """Items with a given recipe that wait for a worker: never taken, released, or their lease has run out."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Work.id, Work.trial_number, Work.split, Work.recipe, Work.note)
                .where(Work.study_id == study_id, Work.kind == WorkKind(kind).value, is_waiting(self._database.clock))
                .where(Work.recipe.is_not(None))
                .order_by(Work.id)
            )
            return [WaitingItem(**checked_work(row)) for row in rows]

    @repeatable
    def held(self, study_id: int) -> list[HeldItem]:
        """Items under a running lease, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(Work.id, Work.kind, Work.trial_number, Work.worker, Work.split, Work.note)
                .where(Work.study_id == study_id, is_live(self._database.clock))
                .order_by(Work.id)
            )
            return [HeldItem(**{**checked_work(row), "kind": WorkKind(row.kind)}) for row in rows]

    @repeatable
    def assigned_trials(self, study_id: int) -> dict[int, dict[str, Any]]:
        """The flat recipe of every search trial that has begun or ended, by Optuna's number."""
        assigned = (Work.study_id == study_id, Work.kind == WorkKind.SEARCH.value, Work.trial_number.is_not(None))
        with self._database.reading() as connection:
            rows = connection.execute(select(Work.id, Work.trial_number, Work.recipe).where(*assigned))
            checked = [checked_work(row) for row in rows]
        return {row["trial_number"]: row["recipe"] for row in checked}

    @repeatable
    def trials_begun(self, study_id: int) -> int:
        """One more than the largest number in `assigned_trials`; 0 if there is none. Cheap enough to poll."""
        last = select(func.max(Work.trial_number)).where(Work.study_id == study_id, Work.kind == WorkKind.SEARCH.value)
        with self._database.reading() as connection:
            number = connection.execute(last).scalar_one()
        check_row(
            Work.__tablename__,
            {"id": "of the last trial", "trial_number": number},
            {"trial_number": WORK_RULES["trial_number"]},
        )
        return 0 if number is None else number + 1

    @repeatable
    def states(self, study_id: int) -> dict[int, WorkState]:
        """The state of every item of a study by id. An item keeps its state when its lease runs out."""
        with self._database.reading() as connection:
            rows = connection.execute(select(Work.id, Work.state).where(Work.study_id == study_id))
            return {row.id: WorkState(checked_work(row)["state"]) for row in rows}

    @repeatable
    def counts(self, study_id: int) -> dict[WorkKind, dict[WorkState, int]]:
        """How many items of each kind are in each state, zeros included, without paused trials.

        Items whose lease has run out count as queued, because the next worker may take them.
        """
        state = case((is_expired(self._database.clock), WorkState.QUEUED.value), else_=Work.state)
        result = {kind: dict.fromkeys(WorkState, 0) for kind in WorkKind}
        with self._database.reading() as connection:
            rows = connection.execute(
                select(func.min(Work.id).label("id"), Work.kind, state.label("state"), func.count().label("count"))
                .where(Work.study_id == study_id, ~is_paused())
                .group_by(Work.kind, state)
            )
            for row in rows:
                checked = checked_work(row)
                result[WorkKind(checked["kind"])][WorkState(checked["state"])] = row._mapping["count"]
        return result

    @repeatable
    def unreported(self, study_id: int, work_id: int | None = None) -> list[TrialRecord]:
        """Stored outcomes that `WorkQueue.mark_reported` has not confirmed, oldest first.

        A worker that died between storing and reporting leaves them; so does one that is reporting right now. Several
        processes may therefore report the same outcome, each with ``study.tell(..., skip_if_finished=True)``.

        Args:
            work_id: of the only item to look at; None: all items of the study.
        """
        conditions = [Work.study_id == study_id, Work.is_reported.is_(False), Work.paused_after.is_(None)]
        if work_id is not None:
            conditions.append(Work.id == work_id)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*TRIAL_COLUMNS).join(Work, Work.id == Trial.work_id).where(*conditions).order_by(Trial.id)
            )
            return [trial_record(row) for row in rows]
