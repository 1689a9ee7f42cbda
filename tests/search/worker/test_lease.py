"""Leases: renewal while the process runs, and the check after it was suspended."""

from __future__ import annotations

import pytest

from search.worker.lease import LeaseKeeper
from search.worker.study_context import StudyContext
from storage.errors import StorageUnavailableError
from storage.queue.items import WorkItem


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def item(context: StudyContext) -> WorkItem:
    taken = context.stores.queue.take(context.study.id, "w1", 60.0)
    assert taken is not None
    return taken


def test_a_suspended_process_notices_that_it_lost_its_item(context: StudyContext, item: WorkItem) -> None:
    """It is suspended for longer than its lease, and another worker takes the item over."""
    clock, queue = Clock(), context.stores.queue
    keeper = LeaseKeeper(queue, item, lease=60.0, clock=clock)
    assert keeper.check()
    context.stores.recovery.expire_worker("w1")
    adopted = queue.take(context.study.id, "w2", 60.0)
    assert adopted is not None and adopted.id == item.id
    assert keeper.check(), "the database is not asked right after a renewal"
    clock.now += 3600
    assert not keeper.check()
    assert keeper.lost


def test_a_suspended_process_keeps_an_item_that_no_other_worker_took(context: StudyContext, item: WorkItem) -> None:
    clock = Clock()
    keeper = LeaseKeeper(context.stores.queue, item, lease=60.0, clock=clock)
    clock.now += 3600
    assert keeper.check()
    clock.now += 29
    assert keeper.check()


def test_an_outage_does_not_lose_the_lease(
    context: StudyContext, item: WorkItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    keeper = LeaseKeeper(context.stores.queue, item, lease=60.0, clock=clock)
    clock.now += 50

    def silent(*args: object) -> bool:
        raise StorageUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(context.stores.queue, "renew", silent)
        assert keeper.check()
    assert keeper.check() and not keeper.lost


def test_the_thread_notices_a_lost_lease(context: StudyContext, item: WorkItem) -> None:
    with LeaseKeeper(context.stores.queue, item, lease=0.06) as keeper:
        context.stores.queue.release(item)
        assert keeper._lost.wait(60)
