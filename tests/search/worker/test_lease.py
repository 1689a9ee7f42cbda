"""Holding a trial: renewed while the process lives, asked about after it stood still."""

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


def test_a_process_that_stood_still_asks_before_it_writes(context: StudyContext, item: WorkItem) -> None:
    """Suspended for longer than its lease; meanwhile another worker took the trial over."""
    clock, queue = Clock(), context.stores.queue
    keeper = LeaseKeeper(queue, item, lease=60.0, clock=clock)
    assert keeper.check()
    context.stores.recovery.expire_worker("w1")
    adopted = queue.take(context.study.id, "w2", 60.0)
    assert adopted is not None and adopted.id == item.id
    assert keeper.check(), "a moment later it cannot know"
    clock.now += 3600
    assert not keeper.check()
    assert keeper.lost


def test_a_process_that_stood_still_and_was_not_missed_goes_on(context: StudyContext, item: WorkItem) -> None:
    clock = Clock()
    keeper = LeaseKeeper(context.stores.queue, item, lease=60.0, clock=clock)
    clock.now += 3600
    assert keeper.check()
    clock.now += 29
    assert keeper.check()


def test_an_outage_is_no_loss(context: StudyContext, item: WorkItem, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    keeper = LeaseKeeper(context.stores.queue, item, lease=60.0, clock=clock)
    clock.now += 50

    def silent(*args: object) -> bool:
        raise StorageUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(context.stores.queue, "renew", silent)
        assert keeper.check()
    assert keeper.check() and not keeper.lost


def test_the_thread_notices_the_loss_by_itself(context: StudyContext, item: WorkItem) -> None:
    with LeaseKeeper(context.stores.queue, item, lease=0.06) as keeper:
        context.stores.queue.release(item)
        assert keeper._lost.wait(60)
