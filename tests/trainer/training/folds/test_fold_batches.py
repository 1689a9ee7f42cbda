"""Batches that are prepared from fold to fold without a gap: the planned ones, in time, and none left behind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.training.support import SMALL, after, competition, go_on, run
from trainer.batches.batch_loader import BATCHES_AHEAD, BatchLoader
from trainer.batches.batch_plan import BatchPlan, plan_epoch
from trainer.batches.shared_memory import PREFIX
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_batches import FoldBatches
from trainer.training.folds.fold_model import FoldModel
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

FOLDS, EPOCHS, BATCHES = 3, 3, 3  # of `competition` and `SMALL`: 48 images in batches of 16


@pytest.fixture(params=[1, 3])
def width(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many folds train at the same time: as many as there are threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def plans_of(data: TrainingData, recipe: Recipe, fold: int, epoch: int) -> tuple[BatchPlan, ...]:
    return plan_epoch(
        data.training_part(fold),
        data.y,
        batch_size=recipe.batch_size,
        balance=recipe.balance,
        seed=0,
        fold=fold,
        epoch=epoch,
    )


@settings(max_examples=25)
@given(
    folds=st.integers(1, 5),
    width=st.integers(1, 4),
    first=st.integers(1, 3),
    batch_size=st.sampled_from([2, 7, 16, 64]),
    ahead=st.integers(0, 3),
)
def test_every_fold_reads_its_own_batches(folds: int, width: int, first: int, batch_size: int, ahead: int) -> None:
    """Also where folds have fewer batches than are prepared ahead, and from any epoch on."""
    data = competition(n=20, folds=folds + (folds == 1))
    recipe = Recipe.from_flat({**SMALL, "batch_size": batch_size})
    with BatchLoader() as loader, pytest.MonkeyPatch.context() as patched:
        patched.setattr("trainer.batches.batch_loader.BATCHES_AHEAD", 1 + 4 * ahead)
        batches = FoldBatches(recipe, data, seed=0, loader=loader, width=width)
        for epoch in range(first, recipe.epochs + 1):
            for fold in range(data.num_folds):
                read = [(images.copy(), y) for images, y in batches.of(fold, epoch)]
                planned = plans_of(data, recipe, fold, epoch)
                assert len(read) == len(planned)
                for (images, y), plan in zip(read, planned, strict=True):
                    assert np.array_equal(images, data.pixels.train[plan.indices])
                    assert np.array_equal(y, data.y[plan.indices])
        batches.close()


Event = tuple[str, int, int, int]
"""What happened to which batch: its epoch, fold, and number in the epoch."""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What happens in trainings of `SMALL`: batches are "submitted", and a step on each "begins" and "ends"."""
    found: list[Event] = []
    data, recipe = competition(), Recipe.from_flat(SMALL)
    places = {
        plan.keys: (epoch, fold, number)
        for epoch in range(1, EPOCHS + 1)
        for fold in range(FOLDS)
        for number, plan in enumerate(plans_of(data, recipe, fold, epoch))
    }
    submit, train = BatchLoader.submit, FoldModel._train_batch

    def spied_submit(self: BatchLoader, job: bytes, plan: BatchPlan, size: int) -> Any:
        found.append(("submitted", *places[plan.keys]))
        return submit(self, job, plan, size)

    def spied_train(self: FoldModel, epoch: int, batch: int, *rest: Any) -> Any:
        found.append(("begins", epoch, self._fold, batch))
        outcome = train(self, epoch, batch, *rest)
        found.append(("ends", epoch, self._fold, batch))
        return outcome

    monkeypatch.setattr(BatchLoader, "submit", spied_submit)
    monkeypatch.setattr(FoldModel, "_train_batch", spied_train)
    return found


def test_the_next_fold_is_begun_before_the_last_step_ends(events: list[Event], width: int) -> None:
    assert run().machine["folds_abreast"] == width
    when = {event: place for place, event in enumerate(events)}
    assert len(when) == len(events) == 3 * EPOCHS * FOLDS * BATCHES
    for first in range(width):
        order = [(epoch, fold) for epoch in range(1, EPOCHS + 1) for fold in range(first, FOLDS, width)]
        for now, later in pairwise(order):
            assert when["submitted", *later, 0] < when["begins", *now, BATCHES - 1]


def test_no_more_is_prepared_at_the_change_of_folds_than_elsewhere(events: list[Event], width: int) -> None:
    run()
    unread: Counter[int] = Counter()  # by stream
    for kind, _, fold, _ in events:
        unread[fold % width] += {"submitted": 1, "begins": -1, "ends": 0}[kind]
        assert unread[fold % width] <= BATCHES_AHEAD + 1, "the one that the step is about to take, and those ahead"
    assert set(unread.values()) == {0}


def test_a_training_that_ends_early_drops_its_batches_before_it_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    close = FoldBatches.close
    monkeypatch.setattr(FoldBatches, "close", lambda self: (order.append("closed"), close(self))[1])
    ended = run(
        on_epoch=after(1, Verdict.FINISH), worth_keeping=lambda report, average: bool(order.append("predicted"))
    )
    assert (ended.status, ended.epochs_done) == ("finished", 1)
    assert order[:2] == ["closed", "predicted"]


def fail(report: EpochReport) -> Verdict:
    raise ConnectionError("the database is gone")


RICH = {"augment.hflip": 0.5, "augment.brightness": 0.2, "augment.mix": "cutmix", "ema": 0.9, "balance": 0.5}
ENDS: dict[str, Callable[[EpochReport], Verdict]] = {
    "stopped": after(1, Verdict.STOP),
    "paused": after(1, Verdict.PAUSE),
    "pruned": after(1, Verdict.PRUNE),
    "finished": after(1, Verdict.FINISH),
    "an exception": fail,
}


def blocks() -> set[str]:
    """Shared memory that this process made."""
    return {path.name for path in Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*")}


def assert_same(one: CVResult, other: CVResult) -> None:
    assert one.oof.tobytes() == other.oof.tobytes()
    assert one.test is not None and other.test is not None and one.test.tobytes() == other.test.tobytes()
    assert [report.train_loss for report in one.reports] == [report.train_loss for report in other.reports]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory shows as files on Linux only")
def test_processes_change_no_bit_and_however_a_training_ends_its_batches_go(tmp_path: Path, width: int) -> None:
    """The checkpoint of an end between two epochs continues as if nothing had been prepared."""
    expected, before = run(RICH), blocks()
    with BatchLoader(workers=2) as loader:
        assert_same(run(RICH, loader=loader), expected)
        for name, on_epoch in ENDS.items():
            path = tmp_path / f"{name}.pt"
            if name == "an exception":
                with pytest.raises(ConnectionError):
                    run(RICH, loader=loader, on_epoch=on_epoch, checkpoint=path)
            else:
                assert run(RICH, loader=loader, on_epoch=on_epoch, checkpoint=path).status == name
            if name in ("stopped", "paused"):
                assert_same(run(RICH, loader=loader, checkpoint=path, on_epoch=go_on), expected)
        left = run(RICH, loader=loader, abandon=iter([False] * (BATCHES - 1) + [True] * 9).__next__)
        assert left.reason == "left in the middle of epoch 1 of 3"
        assert loader._executor is not None
        loader._executor.shutdown()  # waits for what was begun
        assert {slot.name for slot in loader.slots._free} == {slot.name for slot in loader.slots._all} != set()
    assert blocks() <= before
