"""Other programs hold the GPU: a worker waits, then leaves the item to others; nothing is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import trainer.training.cross_validation
from search.runtime.signals import StopSignals
from search.worker import loop
from search.worker.lease import LEASE, LeaseKeeper
from search.worker.limits.gpu_wait import LONGEST_WAIT, PAUSE, GpuBusy, GpuWait
from search.worker.loop import work
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.worker.task import LeaseLost, Task
from search.worker.training import train_item
from storage.values import StudyState, TrialStatus, WorkKind, WorkState
from trainer.training.folds.memory.device_memory import GpuOccupied, Shortage

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@dataclass(frozen=True, kw_only=True)
class Lacking(Shortage):
    """A shortage that is over once ``over`` says so."""

    over: Callable[[], bool]

    @property
    def is_over(self) -> bool:
        return self.over()


def occupied(over: Callable[[], bool]) -> GpuOccupied:
    shortage = Lacking(device=torch.device("cuda"), need=2**30, over=over)
    return GpuOccupied("it needs about 1.0 GiB; other programs hold 7.0 of its 8.0 GiB", shortage)


class Clock:
    """Time that passes while `sleep` is called."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(train_item, "GpuWait", partial(GpuWait, clock=clock, sleep=clock.sleep))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=clock, sleep=clock.sleep))
    return clock


def occupy(monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> None:
    """Let the next trainings end with the ``errors``, in order; those after them are real."""
    original = trainer.training.cross_validation.cross_validate

    def train(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return original(*args, **options)

    monkeypatch.setattr(trainer.training.cross_validation, "cross_validate", train)


def test_a_trial_waits_until_the_memory_is_free(
    context: StudyContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupy(monkeypatch, [occupied(lambda: clock.now >= 20.0), occupied(lambda: clock.now >= 30.0)])
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    assert run_item(context, item, lambda: False)
    assert clock.now == 30.0
    (record,) = context.stores.trials.records(context.study.id)
    assert (record.number, record.status, record.attempt) == (0, TrialStatus.FINISHED, 1)


def test_an_item_goes_back_to_the_queue_after_a_while_and_is_no_failure(
    context: StudyContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than a trial may lose its worker, and more often than failures in a row stop a study."""
    occupy(monkeypatch, [occupied(lambda: False) for _ in range(8)])
    queue, study_id = context.stores.queue, context.study.id
    for _ in range(8):
        item = queue.take(study_id, context.worker, LEASE)
        assert item is not None
        begun = clock.now
        with pytest.raises(GpuBusy, match="other programs hold"):
            run_item(context, item, lambda: False)
        assert LONGEST_WAIT <= clock.now - begun <= LONGEST_WAIT + PAUSE
        assert queue.counts(study_id)[WorkKind.SEARCH][WorkState.QUEUED] == 1
    assert context.stores.trials.records(study_id) == []
    assert context.stores.studies.state(study_id) is StudyState.RUNNING
    item = queue.take(study_id, context.worker, LEASE)
    assert item is not None and (item.trial_number, item.attempt) == (0, 9)
    run_item(context, item, lambda: False)
    (record,) = context.stores.trials.records(study_id)
    assert (record.number, record.status) == (0, TrialStatus.FINISHED)


def test_the_worker_rests_before_it_takes_the_next_item(
    context: StudyContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupy(monkeypatch, [occupied(lambda: False)])
    served: list[tuple[float, bool]] = []
    work(
        context.stores,
        lambda study: context,
        StopSignals(),
        home=context.home,
        on_study=lambda study_id: served.append((clock.now, study_id is not None)),
    )
    records = context.stores.trials.records(context.study.id)
    assert [(r.number, r.status) for r in records] == [(n, TrialStatus.FINISHED) for n in range(3)]
    assert served[0] == (0.0, True)
    again = next(now for now, has_item in served[1:] if has_item)
    assert again >= LONGEST_WAIT + loop.REST
    assert all(not has_item for now, has_item in served[1:] if now < again)


@pytest.mark.parametrize("reason", ["stop", "deadline", "lease"])
def test_a_wait_ends_early(context: StudyContext, clock: Clock, reason: str) -> None:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None

    class Limit:
        def passed(self) -> bool:
            return reason == "deadline" and clock.now >= 10.0

    with LeaseKeeper(context.stores.queue, item) as lease:
        task = Task(
            item=item,
            trial=None,
            lease=lease,
            stop_requested=lambda: reason == "stop" and clock.now >= 10.0,
            overdue=lambda: False,
            limit=Limit(),  # type: ignore[arg-type]
        )

        def over() -> bool:
            if reason == "lease" and clock.now >= 10.0:
                lease._lost.set()
            return False

        wait, shortage = GpuWait(task, clock=clock, sleep=clock.sleep), occupied(over).shortage
        if reason == "lease":
            with pytest.raises(LeaseLost):
                wait.until_over(shortage, "")
        else:
            assert not wait.until_over(shortage, "")
    assert 10.0 <= clock.now <= 10.0 + PAUSE


def test_memory_of_the_gpu_is_given_back_after_every_item(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[int] = []
    monkeypatch.setattr(
        StudyContext,
        "release_memory",
        lambda self: released.append(len(self.stores.trials.records(self.study.id))),
    )
    work(context.stores, lambda study: context, StopSignals(), home=context.home)
    assert released == [1, 2, 3]
