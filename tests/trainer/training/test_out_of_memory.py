"""Out of memory: first the other folds wait in host memory, then fewer images at a time; the same training."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tests.trainer.training.support import after, run
from trainer.networks.build import create_backbone
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_group, fold_model, fold_predictor
from trainer.training.folds.batch_parts import needs_two_images
from trainer.training.folds.memory.gpu_memory import MemoryPlan
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
    assert "parked" not in roomy.machine and tight.machine["parked"] is True
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


class FailsAtCalls(torch.nn.Module):
    """Runs out of memory in some of its forward passes in training, counted from 1, after half of each has run."""

    def __init__(self, calls: Collection[int], backbone: str = "test_resnet") -> None:
        super().__init__()
        self.inner = timm.create_model(backbone, num_classes=3, drop_rate=0.3)
        self.pretrained_cfg = self.inner.pretrained_cfg
        self.calls, self.count = calls, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.inner.forward_features(x)
        if torch.is_grad_enabled():
            self.count += 1
            if self.count in self.calls:
                raise ALLOCATOR
        return self.inner.forward_head(features)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "micro_batch"),
    [
        ((), 16),
        ((1,), 16),  # the other folds wait in host memory
        ((1, 2), 8),
        ((1, 2, 4), 4),  # after one of two parts
        ((1, 2, 3, 6), 2),
        ((1, 2, 3, 4, 11), 2),  # one image is too few for this network, and then two fit
    ],
)
def test_memory_that_runs_out_in_a_pass_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, calls: tuple[int, ...], micro_batch: int
) -> None:
    """The same as with less memory from the beginning: micro batches, every buffer, weights and predictions."""
    changes = {"epochs": 1, "ema": 0.9, "augment.mix": "mixup"}
    networks = iter([FailsAtCalls(calls), FailsAtCalls(()), FailsAtCalls(())])

    def create(recipe: Recipe, num_classes: int, **options: Any) -> torch.nn.Module:
        made = next(networks)
        made.inner = timm.create_model("test_resnet", num_classes=3, drop_rate=0.3)  # now, with the seed of its fold
        return made

    monkeypatch.setattr(fold_model, "create_backbone", create)
    ran_out = run(changes, keep_models=True)
    networks = iter([FailsAtCalls(()) for _ in range(3)])
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=micro_batch))
    from_the_start = run(changes, keep_models=True)
    assert ran_out.machine["micro_batch"] == from_the_start.machine["micro_batch"] == micro_batch
    assert ran_out.machine.get("parked", False) is bool(calls)
    assert ran_out.oof.tobytes() == from_the_start.oof.tobytes()
    for a, b in zip(ran_out.models, from_the_start.models, strict=True):
        assert a.keys() == b.keys()
        assert [name for name in a if not torch.equal(a[name], b[name])] == []


ONE_PIXEL = "mobilenetv4_conv_small_035"  # batch normalisation after pooling: a single image has no variance


def test_a_network_that_cannot_train_on_one_image_is_fed_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """With batches of 15 a part has three images where two would leave a single one over."""
    small_memory(monkeypatch, ONE_PIXEL, 3)
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=2))
    result = run({"epochs": 1, "batch_size": 15})
    assert (result.status, result.machine["micro_batch"]) == ("finished", 2)


def test_the_lack_of_memory_is_reported_where_one_image_is_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, ONE_PIXEL, 1)
    with pytest.raises(torch.OutOfMemoryError):
        run({"epochs": 1})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "least"),
    [
        ("mobilenetv4_conv_small_035", 2),
        ("levit_128s", 2),
        ("skresnet18", 2),
        ("resnest14d", 2),
        ("efficientvit_m0", 2),
        ("visformer_tiny", 2),
        ("test_vit", 1),
        ("convnext_atto", 1),
    ],
)
def test_every_network_can_train_on_one_image_or_two(backbone: str, least: int) -> None:
    """On the meta device, which knows shapes and no values. No other number or error stops the halving of a batch."""
    with torch.device("meta"):
        recipe = Recipe.from_flat({"backbone": backbone, "init": "scratch", "image_size": 32})
        network = create_backbone(recipe, 3, weights_dir=None).train()
        if least == 2:
            with pytest.raises(ValueError) as refused:
                network(torch.zeros(1, 3, 32, 32))
            assert needs_two_images(refused.value)
        network(torch.zeros(least, 3, 32, 32)).sum().backward()


@pytest.mark.slow
def test_predictions_without_memory_move_the_other_folds_before_they_take_fewer_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = run({"epochs": 2})
    asked: list[int] = []
    predict = fold_predictor.predict_proba

    def fail_twice(*args: Any, batch_size: int, **options: Any) -> Any:
        asked.append(batch_size)
        if len(asked) in (2, 3):
            raise CUDNN
        return predict(*args, batch_size=batch_size, **options)

    monkeypatch.setattr(fold_predictor, "predict_proba", fail_twice)
    result = run({"epochs": 2})
    assert asked[:5] == [64, 64, 64, 32, 32]
    assert (result.status, result.machine["parked"], result.machine["micro_batch"]) == ("finished", True, 16)
    np.testing.assert_allclose(result.oof, undisturbed.oof, atol=1e-5)


def test_only_the_refusal_of_one_image_means_that_two_are_needed() -> None:
    network = timm.create_model(ONE_PIXEL, num_classes=3)
    with pytest.raises(ValueError) as refused:
        network(torch.zeros(1, 3, 32, 32))
    assert needs_two_images(refused.value)
    network(torch.zeros(2, 3, 32, 32))
    assert not needs_two_images(ValueError("another"))
    assert not needs_two_images(RuntimeError(str(refused.value)))


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
