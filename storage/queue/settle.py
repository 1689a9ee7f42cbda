"""Giving a work item its outcome, inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, update

from storage.database.clock import Clock
from storage.database.tables import Work
from storage.records.trial_rows import insert_outcome
from storage.values import Failure, TrialOutcome, TrialStatus, WorkState


def settle(connection: Connection, row: Row[Any], outcome: TrialOutcome, attempt: int, clock: Clock) -> None:
    """Write the outcome of a work row (all columns of `storage.database.tables.Work`, locked) and the row's final
    state.
    """
    failed = outcome.status is TrialStatus.FAILED
    insert_outcome(connection, row, outcome, clock)
    connection.execute(
        update(Work)
        .where(Work.id == row.id)
        .values(
            state=(WorkState.FAILED if failed else WorkState.STORED).value,
            attempt=attempt,
            lease_until=None,
            # A failure before Optuna was asked is nothing that Optuna could be told.
            told=failed and row.trial_number is None,
        )
    )


def lost_workers(row: Row[Any]) -> int:
    """How many workers an item has lost that is queued, or whose lease ran out."""
    return int(row.lost) + int(row.state == WorkState.LEASED)


def give_up(connection: Connection, row: Row[Any], clock: Clock) -> None:
    """Fail an item that has lost too many workers."""
    lost = lost_workers(row)
    reason = f"given up: {lost} workers vanished or broke down while training it, the last of them {row.worker}"
    outcome = TrialOutcome(status=TrialStatus.FAILED, failure=Failure.LOST, reason=reason)
    # The attempt goes up, so that a last holder who was only slow learns that the item is lost.
    settle(connection, row, outcome, row.attempt + 1, clock)
