"""A stopped and resumed training equals an undisturbed one, bit for bit."""

from __future__ import annotations

import errno
import logging
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.training.support import after, competition, fill_disk_in_torch, run
from trainer.batches import batch_loader as loader_module
from trainer.batches.batch_loader import BatchLoader
from trainer.training.results import CVResult, EpochReport, Verdict

EVERYTHING: dict[str, Any] = {
    "epochs": 3,
    "backbone": "test_resnet",
    "drop": 0.3,
    "drop_path": 0.2,
    "ema": 0.95,
    "balance": 0.7,
    "augment.mix": "cutmix",
    "augment.mix_prob": 0.6,
    "augment.rotate": 10.0,
    "augment.noise": 0.1,
    "optimizer.layer_decay": 0.8,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def undisturbed() -> CVResult:
    torch.set_num_threads(1)
    return run(EVERYTHING)


def assert_same(first: CVResult, second: CVResult) -> None:
    assert first.status == second.status
    assert first.oof.tobytes() == second.oof.tobytes()
    assert first.test is not None
    assert second.test is not None
    assert first.test.tobytes() == second.test.tobytes()
    assert len(first.reports) == len(second.reports)
    for a, b in zip(first.reports, second.reports, strict=True):
        assert a.true_class.tobytes() == b.true_class.tobytes()
        assert (a.epoch, a.epochs, a.metric, a.mean_true_probability, a.fold_metrics, a.train_loss) == (
            b.epoch,
            b.epochs,
            b.metric,
            b.mean_true_probability,
            b.fold_metrics,
            b.train_loss,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        {**EVERYTHING, "backbone": "test_vit", "optimizer.name": "sgd", "augment.mix": "mixup"},
        {**EVERYTHING, "backbone": "test_convnext", "optimizer.name": "lion", "ema": 0.0, "optimizer.lr": 1e-3},
        {**EVERYTHING, "optimizer.name": "radam", "optimizer.clip_grad": 1.0, "loss.class_weight": 1.0},
        {**EVERYTHING, "optimizer.name": "muon", "optimizer.head_lr": 3.0, "freeze": 0.4, "swa": 0.5, "ema": 0.0},
        {**EVERYTHING, "freeze": 1.0, "swa": 0.5, "schedule.name": "one_cycle", "loss.gce_q": 0.5},
    ],
    ids=["adamw", "sgd", "lion", "radam", "muon", "linear probing"],
)
def test_continued_equals_undisturbed(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Stopped after the first epoch, continued, stopped after the second, continued, with other work between."""
    path = tmp_path / "trial.pt"
    undisturbed = run(changes)
    stopped = run(changes, on_epoch=after(1, Verdict.STOP), checkpoint=path)
    assert stopped.status == "stopped"
    assert stopped.reason == "stopped after epoch 1 of 3"
    run({"epochs": 1, "drop": 0.2})
    again = run(changes, on_epoch=after(2, Verdict.STOP), checkpoint=path)
    assert again.epochs_done == 2
    seen: list[int] = []

    def watch(report: EpochReport) -> Verdict:
        seen.append(report.epoch)
        return Verdict.CONTINUE

    continued = run(changes, on_epoch=watch, checkpoint=path)
    assert seen == [3]  # an epoch is reported once, by the call that trained it
    assert_same(undisturbed, continued)


def test_a_paused_training_asks_again_when_it_is_resumed_and_equals_an_undisturbed_one(tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    paused = run(EVERYTHING, on_epoch=after(1, Verdict.PAUSE), checkpoint=path)
    assert (paused.status, paused.reason) == ("paused", "paused after epoch 1 of 3")
    assert paused.average is None and paused.test is None, "nothing is predicted"
    asked: list[int] = []

    def resumed(verdict: Verdict) -> CVResult:
        return run(EVERYTHING, on_resume=lambda report: asked.append(report.epoch) or verdict, checkpoint=path)

    again = resumed(Verdict.PAUSE)
    assert (again.status, again.epochs_done) == ("paused", 1)
    np.testing.assert_array_equal(again.oof, paused.oof)
    assert_same(run(EVERYTHING), resumed(Verdict.CONTINUE))
    assert asked == [1, 1]
    assert run(EVERYTHING, on_epoch=after(3, Verdict.PAUSE)).status == "finished", "after the last epoch"


def test_a_killed_training_continues_from_the_last_checkpoint(tmp_path: Path, undisturbed: CVResult) -> None:
    """The clock jumps two minutes an epoch, so every epoch is checkpointed; the kill comes after the second."""
    path = tmp_path / "trial.pt"
    now = 0.0

    def clock() -> float:
        return now

    def killed(report: EpochReport) -> Verdict:
        nonlocal now
        now += 120.0
        if report.epoch == 2:
            raise KeyboardInterrupt
        return Verdict.CONTINUE

    with pytest.raises(KeyboardInterrupt):
        run(EVERYTHING, on_epoch=killed, checkpoint=path, clock=clock)
    seen: list[int] = []
    continued = run(EVERYTHING, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE, checkpoint=path)
    assert seen == [2, 3]
    assert_same(undisturbed, continued)


def test_killed_after_the_last_epoch_only_predicts(tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    ticks = iter(range(0, 10**6, 100))
    first = run(EVERYTHING, checkpoint=path, clock=lambda: float(next(ticks)))
    seen: list[int] = []
    again = run(
        EVERYTHING,
        on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE,
        checkpoint=path,
        views=("identity", "vflip"),
    )
    assert seen == []
    assert_same(first, again)
    assert np.isfinite(again.oof_views["vflip"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["seed", "recipe", "labels", "folds", "images", "metric"])
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trial.pt"
    run({"epochs": 2}, competition(48), on_epoch=after(1, Verdict.STOP), checkpoint=path)
    data, changes, options = competition(48), {"epochs": 2}, {}
    match what:
        case "seed":
            options = {"seed": 1}
        case "recipe":
            changes["augment.hflip"] = 0.1
        case "labels":
            data.y[0] = (data.y[0] + 1) % 3
        case "folds":
            data.folds[[0, 1]] = data.folds[[1, 0]]
        case "images":
            data = competition(48, seed=1)
        case "metric":
            options = {"metric": "log_loss"}
    seen: list[int] = []
    with caplog.at_level(logging.WARNING):
        result = run(
            changes,
            data,
            on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE,
            checkpoint=path,
            **options,
        )
    assert seen == [1, 2]
    assert "another recipe, seed, split, data set" in caplog.text
    assert result.oof.tobytes() == run(changes, data, **options).oof.tobytes()


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trial.pt"
    run(on_epoch=after(2, Verdict.STOP), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-2000])
    with caplog.at_level(logging.WARNING):
        result = run(checkpoint=path)
    assert "damaged" in caplog.text
    assert_same(run(), result)


def test_a_stop_on_a_full_disk_keeps_the_older_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, undisturbed: CVResult
) -> None:
    path = tmp_path / "trial.pt"
    run(EVERYTHING, on_epoch=after(1, Verdict.STOP), checkpoint=path)
    whole = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        fill_disk_in_torch(patch, as_torch_does=True)
        stopped = run(EVERYTHING, on_epoch=after(2, Verdict.STOP), checkpoint=path)
    assert stopped.status == "stopped"
    assert stopped.epochs_done == 2
    assert str(path) in caplog.text
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    assert_same(undisturbed, run(EVERYTHING, checkpoint=path))


ASKED_PER_EPOCH = 12
"""How often an epoch asks whether to abandon: each of 3 folds for 3 batches and for its held-out images."""


class Abandon:
    """Returns True from the ``times``-th call on."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("asked", [1, 2, 4, ASKED_PER_EPOCH])
def test_abandoned_in_an_epoch_continues_from_the_checkpoint_before(
    tmp_path: Path, asked: int, undisturbed: CVResult
) -> None:
    """The clock jumps two minutes an epoch, so every epoch is checkpointed; the second is left at various places."""
    path = tmp_path / "trial.pt"
    now = 0.0

    def on_epoch(report: EpochReport) -> Verdict:
        nonlocal now
        now += 120.0
        return Verdict.CONTINUE

    left = run(
        EVERYTHING, on_epoch=on_epoch, checkpoint=path, abandon=Abandon(ASKED_PER_EPOCH + asked), clock=lambda: now
    )
    assert left.status == "stopped"
    assert left.reason == "left in the middle of epoch 2 of 3"
    assert [report.epoch for report in left.reports] == [1]
    assert np.isfinite(left.oof).all()
    assert path.exists()  # complete: the call waited for the write in the background
    seen: list[int] = []
    continued = run(EVERYTHING, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE, checkpoint=path)
    assert seen == [2, 3]
    assert_same(undisturbed, continued)


@pytest.mark.parametrize("asked", [1, 5, ASKED_PER_EPOCH])
def test_abandoned_before_the_first_epoch_ends(tmp_path: Path, asked: int) -> None:
    path = tmp_path / "trial.pt"
    ticks = iter(range(0, 10**6, 100))
    result = run(checkpoint=path, abandon=Abandon(asked), clock=lambda: float(next(ticks)))
    assert result.status == "stopped"
    assert result.reason == "left in the middle of epoch 1 of 3"
    assert result.reports == ()
    assert np.isnan(result.oof).all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("asked", [1, 6])
def test_abandoned_while_predicting_at_the_end_only_predicts_again(
    tmp_path: Path, asked: int, undisturbed: CVResult
) -> None:
    """Each of 3 folds is asked for the other views of its held-out images and for the test images."""
    path = tmp_path / "trial.pt"
    ticks = iter(range(0, 10**6, 100))
    left = run(
        EVERYTHING,
        checkpoint=path,
        views=("identity", "hflip"),
        abandon=Abandon(3 * ASKED_PER_EPOCH + asked),
        clock=lambda: float(next(ticks)),
    )
    assert (left.status, left.reason) == ("stopped", "left while predicting after the last epoch")
    assert left.epochs_done == 3
    assert left.test is None
    seen: list[int] = []
    again = run(EVERYTHING, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE, checkpoint=path)
    assert seen == []
    assert_same(undisturbed, again)


def test_an_abandoned_training_drops_the_batches_made_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch is ready at once, the second only after the training was abandoned; the third waits behind it."""
    submitted: list[Future[Any]] = []
    made = iter(range(10**6))
    second_begun, left = threading.Event(), threading.Event()
    submit, make = BatchLoader.submit, loader_module._make_batch

    def spy(self: BatchLoader, job: bytes, plan: Any, size: int) -> tuple[Future[Any], None]:
        submitted.append(submit(self, job, plan, size)[0])
        return submitted[-1], None

    def slow(job: bytes, plan: Any) -> Any:
        if next(made) > 0:
            second_begun.set()
            assert left.wait(60.0)
        return make(job, plan)

    monkeypatch.setattr(BatchLoader, "submit", spy)
    monkeypatch.setattr(loader_module, "_make_batch", slow)
    with BatchLoader() as loader:
        run(loader=loader, abandon=lambda: second_begun.wait(60.0))
        assert [future.cancelled() for future in submitted] == [False, False, True]
        left.set()
        assert run({"epochs": 1}, loader=loader).oof.tobytes() == run({"epochs": 1}).oof.tobytes()


def test_an_exception_of_abandon_is_passed_on() -> None:
    def fail() -> bool:
        raise ConnectionError("the lease is lost")

    with pytest.raises(ConnectionError, match="the lease is lost"):
        run(abandon=fail)


def test_never_abandoned_is_undisturbed(undisturbed: CVResult) -> None:
    assert_same(undisturbed, run(EVERYTHING, abandon=lambda: False))
