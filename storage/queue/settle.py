"""Settling work items: writing an outcome and the final state, inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, update

from storage.database.clock import Clock
from storage.database.tables import Work
from storage.records.trial_rows import insert_outcome
from storage.values import Failure, TrialOutcome, TrialStatus, WorkState

MAX_LOST_WORKERS = 5
"""An item that has lost this many workers fails, because it probably killed them. Switched-off machines lose items as
well: the number is large enough that bad luck alone hardly fails a trial."""


def settle(connection: Connection, row: Row[Any], outcome: TrialOutcome, attempt: int, clock: Clock) -> None:
    """Write the outcome of a work item and its final state.

    Args:
        row: the item, locked, with the columns of ``columns_of(Work)`` (`storage.database.tables.columns_of`).
        attempt: stored as the item's new attempt.
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
            # Without an Optuna trial there is nothing to report.
            is_reported=failed and row.trial_number is None,
        )
    )


def count_lost_workers(row: Row[Any]) -> int:
    """How many workers an item has lost, given that it is queued or its lease has run out."""
    return int(row.lost_workers) + int(row.state == WorkState.LEASED)


def give_up(connection: Connection, row: Row[Any], clock: Clock) -> None:
    """Fail an item that has lost too many workers. ``row`` is as in `settle`."""
    lost = count_lost_workers(row)
    reason = f"given up: {lost} workers vanished or broke down while training it, the last of them {row.worker}"
    outcome = TrialOutcome(status=TrialStatus.FAILED, failure=Failure.LOST, reason=reason)
    # The next attempt number fences off a last holder that was only slow.
    settle(connection, row, outcome, row.attempt + 1, clock)
