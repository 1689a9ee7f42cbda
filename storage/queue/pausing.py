"""Paused trials of the work queue: search trials that wait at a rung until a rule promotes them.

A paused trial is a queued item with an epoch in `storage.database.tables.Work.paused_after`. `WorkQueue.take` passes it
over until the caller's rule chooses it. Its outcome so far is stored beside it as that of a pruned trial, and
`storage.records.trials.TrialStore` hides the record while the trial is paused. A trial that is promoted loses the
record; one that never continues keeps it, and its pruning needs neither its checkpoint nor a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from storage.database.outages import repeatable
from storage.database.tables import Study, Work, columns_of
from storage.queue.conditions import is_held_by, is_paused, is_running
from storage.queue.items import RungValues, WorkItem, checked_work, rung_values
from storage.queue.queue_reader import QueueReader
from storage.records.trial_rows import delete_outcome, insert_outcome, store_again
from storage.values import RUNGS_NOTE, TrialOutcome, TrialStatus, WorkKind, WorkState, finite_or_none

Choice = Callable[[Sequence[RungValues]], int | None]
"""The id of the paused item to continue, among all trials that have reached a rung; None: none."""
Choices = Callable[[Sequence[RungValues]], Collection[int]]
"""Ids of the paused items that end."""


class PausingQueue(QueueReader):
    """The work queue with trials that pause. All methods are repeated during an outage."""

    @repeatable
    def rung_values(self, study_id: int) -> list[RungValues]:
        """All search trials of a study that have reached a rung, without failed ones."""
        with self._database.reading() as connection:
            return _rung_values(connection, study_id)

    @repeatable
    def count_paused(self, study_id: int) -> int:
        """The number of paused trials of a study."""
        with self._database.reading() as connection:
            paused = select(func.count()).select_from(Work).where(Work.study_id == study_id, is_paused())
            return connection.execute(paused).scalar_one()

    @repeatable
    def pass_rung(self, item: WorkItem, reached: RungValues) -> bool:
        """Record the values at the rungs of a held trial, which goes on. False if another worker has taken the item."""
        with self._database.writing() as connection:
            return _record(connection, item, reached) is not None

    @repeatable
    def pause(self, item: WorkItem, reached: RungValues, outcome: TrialOutcome) -> bool:
        """Pause a held trial after its checkpoint was written: end the lease, and store the outcome so far.

        Args:
            reached: the trial with the epoch after which it pauses and the home of its checkpoint.
            outcome: that of a trial pruned after this epoch.

        Returns:
            True if this attempt has paused the trial, by this call or an earlier one. False if another worker has taken
            the item; nothing is written then.
        """
        assert outcome.status is TrialStatus.PRUNED and reached.paused_after is not None, "it would end as pruned"
        with self._database.writing() as connection:
            row = _record(connection, item, reached)
            if row is None:
                paused = select(Work.id).where(
                    Work.id == item.id, Work.attempt == item.attempt, Work.worker == item.worker, is_paused()
                )
                return connection.execute(paused).one_or_none() is not None
            insert_outcome(connection, row, outcome, self._database.clock)
            connection.execute(
                update(Work)
                .where(Work.id == item.id)
                .values(
                    state=WorkState.QUEUED.value,
                    lease_until=None,
                    paused_after=reached.paused_after,
                    home=reached.home,
                )
            )
            return True

    @repeatable
    def end_paused(self, study_id: int, choose: Choices) -> dict[int, str | None]:
        """End paused trials as pruned: their outcomes count from now on. The caller reports them to Optuna.

        Args:
            choose: which of them.

        Returns:
            The home of the checkpoint of each trial that this call has ended, by id of its work item.
        """
        with self._database.writing() as connection:
            # As in `WorkQueue.take`, so that a trial is either promoted or ended.
            connection.execute(select(Study.id).where(Study.id == study_id).with_for_update(key_share=True))
            chosen = choose(_rung_values(connection, study_id))
            ended = (
                update(Work)
                .where(Work.study_id == study_id, Work.id.in_(list(chosen)), is_paused())
                .values(state=WorkState.STORED.value, paused_after=None, is_reported=False)
                .returning(Work.id, Work.home)
            )
            homes = {row.id: row.home for row in connection.execute(ended)}
            for work_id in homes:
                store_again(connection, work_id, self._database.clock)
            return homes

    def _promoted(self, connection: Connection, study_id: int, choose: Choice) -> Row[Any] | None:
        """The paused item that ``choose`` promotes, locked and no longer paused. The caller locks the study."""
        running = select(is_running(self._database.clock)).where(Study.id == study_id)
        any_paused = select(Work.id).where(Work.study_id == study_id, is_paused()).limit(1)
        if connection.execute(any_paused).first() is None or not connection.execute(running).scalar_one():
            return None
        chosen = choose(_rung_values(connection, study_id))
        if chosen is None:
            return None
        paused = select(*columns_of(Work)).where(Work.id == chosen, Work.study_id == study_id, is_paused())
        row = connection.execute(paused.with_for_update()).one_or_none()
        if row is None:
            return None
        delete_outcome(connection, row.id)
        # Without a home, so that any worker may adopt the trial should this one die: it starts over, if need be.
        connection.execute(update(Work).where(Work.id == row.id).values(paused_after=None, home=None))
        return row


def _record(connection: Connection, item: WorkItem, reached: RungValues) -> Row[Any] | None:
    """Write the values at the rungs into the note of a held item; None if another worker has taken it."""
    values = {str(epoch): None if value is None else finite_or_none(value) for epoch, value in reached.values.items()}
    held = connection.execute(select(*columns_of(Work)).where(*is_held_by(item)).with_for_update()).one_or_none()
    if held is None:
        return None
    # The stored note: that of the item is older where the holder has changed it since.
    note = {**checked_work(held)["note"], RUNGS_NOTE: {"epochs": reached.epochs, "values": values}}
    changed = update(Work).where(Work.id == item.id).values(note=note).returning(*columns_of(Work))
    return connection.execute(changed).one()


def _rung_values(connection: Connection, study_id: int) -> list[RungValues]:
    rows = connection.execute(
        select(Work.id, Work.trial_number, Work.note, Work.paused_after, Work.home)
        .where(Work.study_id == study_id, Work.kind == WorkKind.SEARCH.value, Work.trial_number.is_not(None))
        .where(Work.state != WorkState.FAILED.value)
        .order_by(Work.id)
    )
    return [values for row in rows if (values := rung_values(row)) is not None]
