"""A training that was stopped and continued equals an undisturbed one, bit for bit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.crossval_support import after, competition, run
from trainer.outcome import CVResult, EpochReport, Verdict

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


def assert_same(first: CVResult, second: CVResult) -> None:
    assert first.status == second.status
    assert first.oof.tobytes() == second.oof.tobytes()
    assert first.test is not None
    assert second.test is not None
    assert first.test.tobytes() == second.test.tobytes()
    assert len(first.reports) == len(second.reports)
    for a, b in zip(first.reports, second.reports, strict=True):
        assert a.true_class.tobytes() == b.true_class.tobytes()
        assert (a.epoch, a.epochs, a.metric, a.soft, a.fold_metrics, a.train_loss) == (
            b.epoch,
            b.epochs,
            b.metric,
            b.soft,
            b.fold_metrics,
            b.train_loss,
        )


@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        {**EVERYTHING, "backbone": "test_vit", "optimizer.name": "sgd", "augment.mix": "mixup"},
        {**EVERYTHING, "backbone": "test_convnext", "optimizer.name": "lion", "ema": 0.0, "optimizer.lr": 1e-3},
        {**EVERYTHING, "optimizer.name": "radam", "optimizer.clip_grad": 1.0, "loss.class_weight": 1.0},
    ],
    ids=["adamw", "sgd", "lion", "radam"],
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
    assert seen == [3]  # an epoch is reported once, by whoever trained it
    assert_same(undisturbed, continued)


def test_a_killed_training_continues_from_the_last_checkpoint(tmp_path: Path) -> None:
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
    assert_same(run(EVERYTHING), continued)


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


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trial.pt"
    run(on_epoch=after(2, Verdict.STOP), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-2000])
    with caplog.at_level(logging.WARNING):
        result = run(checkpoint=path)
    assert "damaged" in caplog.text
    assert_same(run(), result)
