"""SQL conditions on work items and studies: which items are held, waiting or settled, and which studies may go on."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, func, or_, select

from storage.database.clock import Clock
from storage.database.tables import Study, Work
from storage.queue.items import WorkItem
from storage.values import PROBE_NOTE, StudyState, WorkKind, WorkState


def is_held_by(item: WorkItem) -> tuple[ColumnElement[bool], ...]:
    """Conditions for ``item`` to be still held by the worker that took it.

    They ignore the time: as long as no other worker takes the item, an expired lease can still be renewed and used.
    """
    return (
        Work.id == item.id,
        Work.attempt == item.attempt,
        Work.worker == item.worker,
        Work.state == WorkState.LEASED.value,
    )


def is_expired(clock: Clock) -> ColumnElement[bool]:
    """The lease has run out."""
    return and_(Work.state == WorkState.LEASED.value, Work.lease_until <= clock())


def is_live(clock: Clock) -> ColumnElement[bool]:
    """The lease is running."""
    return and_(Work.state == WorkState.LEASED.value, Work.lease_until > clock())


def is_waiting(clock: Clock) -> ColumnElement[bool]:
    """The item waits for a worker: never taken, released, or its lease has run out."""
    return or_(is_expired(clock), Work.state == WorkState.QUEUED.value)


def is_settled() -> ColumnElement[bool]:
    """The item has an outcome."""
    return Work.state.in_([WorkState.STORED.value, WorkState.FAILED.value])


def is_for_home(home: str | None) -> ColumnElement[bool]:
    """Workers of ``home`` may take the item: it is bound to no home, or to this one."""
    return Work.home.is_(None) if home is None else or_(Work.home.is_(None), Work.home == home)


def may_begin_trial(clock: Clock) -> ColumnElement[bool]:
    """SQL condition: a row of `Study` may get a new search item.

    The study runs, its deadline is ahead, and it has fewer search items than its budget. Failed ones and probes do not
    count (`storage.values.TrialRecord.counts`).
    """
    counted = select(func.count()).where(
        Work.study_id == Study.id,
        Work.kind == WorkKind.SEARCH.value,
        Work.state != WorkState.FAILED.value,
        func.coalesce(Work.note[PROBE_NOTE].as_boolean(), false()).is_(false()),
    )
    return and_(
        Study.state == StudyState.RUNNING.value,
        or_(Study.deadline.is_(None), Study.deadline > clock()),
        or_(Study.budget.is_(None), Study.budget > counted.correlate(Study).scalar_subquery()),
    )
