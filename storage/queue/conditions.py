"""SQL conditions on work items and studies: which items are held, waiting or settled, and which studies may go on."""

from __future__ import annotations

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, func, or_, select

from storage.database.clock import Clock
from storage.database.tables import EnqueuedTrial, Study, Work
from storage.queue.items import WorkItem
from storage.records.trial_rows import is_probe
from storage.values import StudyState, WorkKind, WorkState


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
    """The item waits for a worker: never taken, released, or its lease has run out. A paused trial does not."""
    return or_(is_expired(clock), and_(Work.state == WorkState.QUEUED.value, Work.paused_after.is_(None)))


def is_paused() -> ColumnElement[bool]:
    """The trial waits at a rung for its promotion (`storage.queue.pausing`)."""
    return and_(Work.state == WorkState.QUEUED.value, Work.paused_after.is_not(None))


def is_settled() -> ColumnElement[bool]:
    """The item has an outcome."""
    return Work.state.in_([WorkState.STORED.value, WorkState.FAILED.value])


def is_for_home(home: str | None) -> ColumnElement[bool]:
    """Workers of ``home`` may take the item: it is bound to no home, or to this one."""
    return Work.home.is_(None) if home is None else or_(Work.home.is_(None), Work.home == home)


def may_begin_trial(clock: Clock) -> ColumnElement[bool]:
    """SQL condition: a row of `Study` may get a new search item.

    The study runs and its deadline is ahead. It has fewer counted search items than its budget, or more waiting probes
    than items that still have no trial, so that the new item gets a probe.
    """
    return and_(is_running(clock), or_(has_room(), waiting_probes() > items_without_trial()))


def is_running(clock: Clock) -> ColumnElement[bool]:
    """SQL condition: a row of `Study` is neither paused nor stopped, and its deadline is ahead."""
    return and_(
        Study.state == StudyState.RUNNING.value,
        or_(Study.deadline.is_(None), Study.deadline > clock()),
    )


def items_without_trial() -> ScalarSelect[int]:
    """SQL expression: how many search items of a row of `Study`, held or waiting, still have no trial."""
    unassigned = select(func.count()).where(
        Work.study_id == Study.id,
        Work.kind == WorkKind.SEARCH.value,
        Work.state.in_([WorkState.QUEUED.value, WorkState.LEASED.value]),
        Work.trial_number.is_(None),
    )
    return unassigned.correlate(Study).scalar_subquery()


def has_room(but: int | None = None) -> ColumnElement[bool]:
    """SQL condition: a row of `Study` has fewer search items than its budget, or no budget.

    Failed items and probes do not count (`storage.values.TrialRecord.counts`).

    Args:
        but: id of an item that is not counted; None: all are.
    """
    counted = select(func.count()).where(
        Work.study_id == Study.id,
        Work.kind == WorkKind.SEARCH.value,
        Work.state != WorkState.FAILED.value,
        ~is_probe(Work.note),
    )
    if but is not None:
        counted = counted.where(Work.id != but)
    return or_(Study.budget.is_(None), Study.budget > counted.correlate(Study).scalar_subquery())


def waiting_probes() -> ScalarSelect[int]:
    """SQL expression: how many enqueued probes of a row of `Study` no search item has begun."""
    begun = select(Work.id).where(
        Work.study_id == EnqueuedTrial.study_id,
        Work.kind == WorkKind.SEARCH.value,
        Work.trial_number == EnqueuedTrial.number,
    )
    waiting = planned_probes().where(~begun.correlate(EnqueuedTrial).exists())
    return waiting.correlate(Study).scalar_subquery()


def planned_probes() -> Select[int]:
    """SQL query: how many probes of a row of `Study` were enqueued, without those that were cancelled."""
    return select(func.count()).where(
        EnqueuedTrial.study_id == Study.id,
        is_probe(EnqueuedTrial.attributes),
    )
