"""Out of memory: fewer images at a time, the same training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import after, run
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_model
from trainer.training.results import Verdict


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class SmallMemory(torch.nn.Module):
    """Cannot take more than ``fits`` images in a forward pass; fails after half of it has run, as a GPU does."""

    def __init__(self, backbone: str, fits: int, error: RuntimeError) -> None:
        super().__init__()
        self.inner = timm.create_model(backbone, num_classes=3, **({"img_size": 32} if "vit" in backbone else {}))
        self.pretrained_cfg = self.inner.pretrained_cfg
        self.fits, self.error = fits, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.inner.forward_features(x)
        if len(x) > self.fits:
            raise self.error
        return self.inner.forward_head(features)


ALLOCATOR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
CUDNN = RuntimeError("GET was unable to find an engine to execute this computation")


def small_memory(monkeypatch: pytest.MonkeyPatch, backbone: str, fits: int, error: RuntimeError = ALLOCATOR) -> None:
    def create(recipe: Recipe, num_classes: int, **options: Any) -> torch.nn.Module:
        return SmallMemory(backbone, fits, error)

    monkeypatch.setattr(fold_model, "create_backbone", create)


@pytest.mark.slow
@pytest.mark.parametrize(("fits", "micro_batch"), [(15, 8), (5, 4), (1, 1)])
def test_smaller_parts_make_the_same_training(monkeypatch: pytest.MonkeyPatch, fits: int, micro_batch: int) -> None:
    """Without batch normalisation and dropout, gradients add up to those of the whole batch."""
    changes = {"epochs": 2, "ema": 0.9, "augment.mix": "mixup", "loss.class_weight": 1.0, "optimizer.lr": 1e-3}
    small_memory(monkeypatch, "test_vit", 1000)
    roomy = run(changes)
    small_memory(monkeypatch, "test_vit", fits)
    tight = run(changes)
    assert roomy.machine["micro_batch"] == 16
    assert tight.machine["micro_batch"] == micro_batch
    assert tight.status == "finished"
    np.testing.assert_allclose(tight.oof, roomy.oof, atol=2e-3)
    assert roomy.test is not None
    np.testing.assert_allclose(tight.test, roomy.test, atol=2e-3)
    for a, b in zip(tight.reports, roomy.reports, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-3)


@pytest.mark.slow
def test_a_failed_pass_leaves_no_trace_in_the_running_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch of 48 in halves of 24: the statistics of batch normalisation have moved twice, not three times."""
    small_memory(monkeypatch, "test_resnet", 24)
    tight = run({"epochs": 1, "batch_size": 48}, keep_models=True)
    assert tight.machine["micro_batch"] == 24
    original = fold_model.FoldModel.train_epoch
    monkeypatch.setattr(
        fold_model.FoldModel,
        "train_epoch",
        lambda self, epoch, batches, micro_batch: original(self, epoch, batches, 24),
    )
    from_the_start = run({"epochs": 1, "batch_size": 48}, keep_models=True)
    for a, b in zip(tight.models, from_the_start.models, strict=True):
        for name in a:
            if a[name].is_floating_point():
                assert torch.equal(a[name], b[name]), name


def test_a_workspace_that_does_not_fit_is_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, "test_vit", 5, CUDNN)
    result = run({"epochs": 1})
    assert (result.status, result.machine["micro_batch"]) == ("finished", 4)


def test_another_error_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, "test_vit", 5, RuntimeError("an error in the network"))
    with pytest.raises(RuntimeError, match="an error in the network"):
        run({"epochs": 1})


def test_what_does_not_fit_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, "test_vit", 0)
    with pytest.raises(torch.OutOfMemoryError):
        run()


@pytest.mark.slow
def test_a_continued_training_remembers_what_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    small_memory(monkeypatch, "test_vit", 5)
    undisturbed = run()
    run(on_epoch=after(1, Verdict.STOP), checkpoint=path)
    asked: list[int] = []
    original = fold_model.FoldModel.train_epoch

    def spy(self: fold_model.FoldModel, epoch: int, batches: Any, micro_batch: int) -> fold_model.EpochOutcome:
        asked.append(micro_batch)
        return original(self, epoch, batches, micro_batch)

    monkeypatch.setattr(fold_model.FoldModel, "train_epoch", spy)
    continued = run(checkpoint=path)
    assert set(asked) == {4}
    assert continued.machine["micro_batch"] == 4
    assert continued.oof.tobytes() == undisturbed.oof.tobytes()
