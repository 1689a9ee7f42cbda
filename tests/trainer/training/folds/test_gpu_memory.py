"""Planning a training's GPU memory: what it needs, which micro batch fits, and when folds are offloaded."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.training.support import SMALL, after, competition, run
from trainer.recipe.optimizer_table import OPTIMIZERS
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_group
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory import device_memory, gpu_memory
from trainer.training.folds.memory.device_memory import bytes_free, free_bytes, limit_memory
from trainer.training.folds.memory.gpu_memory import (
    MARGIN,
    FoldMemory,
    MemoryPlan,
    bytes_needed,
    first_fitting,
    plan_memory,
    tensor_bytes,
    too_large_message,
)
from trainer.training.results import Verdict

GIB = 2**30
sizes = st.integers(0, 10**12)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@given(kept=sizes, step=sizes, folds=st.integers(1, 20))
def test_every_fold_keeps_its_own_and_one_trains(kept: int, step: int, folds: int) -> None:
    one, all_of_them = (bytes_needed(FoldMemory(kept=kept, step=step), number) for number in (1, folds))
    assert one == kept + step
    assert all_of_them - one == (folds - 1) * kept
    assert bytes_needed(FoldMemory(kept=kept, step=step), folds, offload=True) == one


@pytest.mark.parametrize(
    ("device_free", "share", "reserved", "expected"),
    [
        (70, 1.0, 10, 70),  # the others have 20
        (70, 0.5, 10, 40),  # the rest of this process's share
        (30, 0.5, 10, 30),  # the others have taken part of it
        (70, 0.25, 30, 0),  # more than its share already
    ],
)
def test_free_is_what_is_there_and_allowed(device_free: int, share: float, reserved: int, expected: int) -> None:
    assert bytes_free(device_free=device_free, device_total=100, share=share, reserved=reserved) == expected


@given(
    batch_size=st.integers(2, 4096),
    fixed=st.integers(0, 1000),
    per_image=st.integers(1, 100),
    room=st.integers(0, 10**5),
    folds=st.integers(1, 10),
)
def test_the_plan_has_the_largest_batch_that_fits_and_offloads_only_if_necessary(
    batch_size: int, fixed: int, per_image: int, room: int, folds: int
) -> None:
    halves = [batch_size]
    while halves[-1] > 1:
        halves.append(halves[-1] // 2)
    fit = [half for half in halves if (MARGIN if half > 1 else 1.0) * (fixed + per_image * half) <= room]
    plan = first_fitting(batch_size, folds, lambda images: FoldMemory(kept=fixed, step=per_image * images), room)
    if plan is None:
        assert not fit
    else:
        assert plan.micro_batch == max(fit)
        # A single fold has no others that could wait in host memory.
        assert plan.offload == (folds > 1 and MARGIN * (folds * fixed + per_image * plan.micro_batch) > room)


def test_what_is_not_known_to_fit_does_not() -> None:
    asked: list[int] = []

    def measured(images: int) -> FoldMemory | None:
        asked.append(images)
        return None if images > 5 else FoldMemory(kept=2, step=8)

    assert first_fitting(48, 5, measured, 12) == MemoryPlan(micro_batch=3, offload=True)
    assert asked == [48, 24, 12, 6, 3]
    assert first_fitting(4, 5, lambda images: None, 10**12) is None


def test_the_message_names_what_is_needed_and_what_is_free() -> None:
    recipe = Recipe.from_flat({"backbone": "resnet50", "image_size": 224})
    text = too_large_message(recipe, 9.04 * GIB, 6 * GIB, "NVIDIA A2")
    assert text == (
        "resnet50 at 224 px needs about 9.1 GiB for one fold and one image at a time; 6.0 GiB are free on NVIDIA A2; "
        "smaller images or another backbone help"
    )
    assert "6.1 GiB for one fold and" in too_large_message(recipe, 6.04 * GIB, int(6.02 * GIB), "A2")
    assert "needs more than the 6.0 GiB that are free on A2" in too_large_message(recipe, math.inf, 6 * GIB, "A2")
    assert "for one fold and 2 images at a time;" in too_large_message(recipe, 9 * GIB, 6 * GIB, "A2", images=2)


def first_fold(changes: dict[str, Any] | None = None, device: str = "cpu") -> FoldModel:
    data = competition()
    return FoldModel(
        Recipe.from_flat({**SMALL, **(changes or {})}),
        fold=0,
        seed=0,
        train_y=data.y[data.training_part(0)],
        num_classes=3,
        device=torch.device(device),
        weights_dir=None,
    )


def same(a: Any, b: Any) -> bool:
    """Whether two states hold the same bits."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rehearsal_on_a_copy_leaves_the_model_as_it_was(optimizer: str) -> None:
    model = first_fold({"optimizer.name": optimizer, "ema": 0.9, "optimizer.layer_decay": 0.8, "drop_path": 0.2})
    before = copy.deepcopy(model.state())
    rehearsing = copy.deepcopy(model)
    for _ in range(2):  # ADOPT's first step only looks at the gradients
        rehearsing.rehearse(5)
    assert same(model.state(), before)
    assert not any(parameter.grad is not None for parameter in model.evaluated.parameters())
    trained = rehearsing.state()
    weights = [name for name, _ in model.evaluated.named_parameters()]
    for now, then in ((trained["model"], before["model"]), (trained["average"]["module"], before["average"]["module"])):
        assert any(not torch.equal(now[name], then[name]) for name in weights)
    assert trained["optimizer"]["state"]


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 1), ("lion", 1), ("adamw", 2), ("lamb", 2)])
def test_what_a_fold_keeps_is_counted(optimizer: str, copies: int) -> None:
    model = first_fold({"optimizer.name": optimizer, "ema": 0.9})
    weights = tensor_bytes(model.state()["model"])
    assert tensor_bytes(model.state()) == 2 * weights  # of the network and of its average
    model.rehearse(16)
    parameters = sum(parameter.nbytes for parameter in model.evaluated.parameters())
    counters = 8 * len(list(model.evaluated.parameters()))  # bytes: an optimizer may count its steps in tensors
    state = tensor_bytes(model.state()["optimizer"])
    assert copies * parameters <= state <= copies * parameters + counters


def test_what_a_frozen_fold_keeps_is_less() -> None:
    model = first_fold({"freeze": 1.0, "swa": 0.5})
    weights = tensor_bytes(model.state()["model"])
    assert tensor_bytes(model.state()) == 2 * weights  # the mean of the last weights is there from the beginning
    model.rehearse(16)
    assert 0 < tensor_bytes(model.state()["optimizer"]) < weights / 10


def test_a_trained_fold_holds_no_gradients_while_the_others_train(monkeypatch: pytest.MonkeyPatch) -> None:
    original = FoldModel.train_epoch
    held: list[int] = []

    def spy(self: FoldModel, *args: Any) -> Any:
        outcome = original(self, *args)
        held.append(sum(parameter.grad is not None for parameter in self._model.parameters()))
        return outcome

    monkeypatch.setattr(FoldModel, "train_epoch", spy)
    run({"epochs": 1})
    assert held == [0, 0, 0]


CUDA = torch.device("cuda")


class PretendedGpu:
    """A GPU on which a fold keeps 100 bytes and a step takes 1000 for each image at a time, up to 8 of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.measured: list[int] = []
        self.free = 10**6
        monkeypatch.setattr(gpu_memory, "_measured", {})
        monkeypatch.setattr(gpu_memory, "_measure", self._measure)
        monkeypatch.setattr(gpu_memory, "free_bytes", lambda device: self.free)
        monkeypatch.setattr(gpu_memory, "shortage", lambda device, need, found_free: None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended GPU")

    def _measure(self, model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory | None:
        self.measured.append(micro_batch)
        return FoldMemory(kept=100, step=1000 * micro_batch) if micro_batch <= 8 else None

    def leave(self, model: FoldModel, room: int) -> None:
        """``room`` bytes, of which ``model`` holds some already."""
        self.free = room - tensor_bytes(model.state())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PretendedGpu:
    return PretendedGpu(monkeypatch)


@pytest.mark.parametrize(
    ("room", "micro_batch", "offload"),
    [
        (10**6, 8, False),
        (10200, 8, False),  # 1.2 times what 5 folds and a step of 8 images need
        (10199, 8, True),
        (9720, 8, True),
        (9719, 4, False),
        (5399, 4, True),
        (1800, 1, False),
        (1799, 1, True),
        (1100, 1, True),  # without a margin, because nothing else fits
    ],
)
def test_folds_that_do_not_fit_beside_a_step_are_offloaded_before_the_batch_is_halved(
    gpu: PretendedGpu, room: int, micro_batch: int, offload: bool
) -> None:
    model, recipe = first_fold(), Recipe.from_flat(SMALL)
    gpu.leave(model, room)
    plan = plan_memory(recipe, model, 5, CUDA)
    assert plan == MemoryPlan(micro_batch=micro_batch, offload=offload)
    assert plan.need == (100 if offload else 500) + 1000 * micro_batch <= room
    assert not plan_memory(recipe, model, 1, CUDA).offload, "a single fold never waits"


def test_the_error_explains_what_does_not_fit(gpu: PretendedGpu) -> None:
    model, recipe = first_fold(), Recipe.from_flat(SMALL)
    gpu.leave(model, 1099)
    with pytest.raises(torch.OutOfMemoryError, match=r"test_resnet at 32 px needs about .* free on pretended GPU"):
        plan_memory(recipe, model, 5, CUDA)


def test_a_kind_of_training_is_measured_once(gpu: PretendedGpu) -> None:
    model, recipe = first_fold(), Recipe.from_flat({**SMALL, "batch_size": 8})

    def asked(changes: dict[str, object]) -> list[int]:
        gpu.measured.clear()
        plan_memory(recipe.replace(changes), model, 5, CUDA)
        return gpu.measured

    assert asked({}) == [8]
    assert asked({"optimizer.lr": 1e-4, "augment.hflip": 0.5, "epochs": 9, "drop": 0.5}) == []
    for change in (
        {"backbone": "test_vit"},
        {"image_size": 64},
        {"batch_size": 4},
        {"optimizer.name": "sgd"},
        {"ema": 0.9},
    ):
        assert len(asked(change)) == 1, change
    for change in ({"tune": "lora"}, {"tune": "lora", "lora_rank": 16}, {"tune": "bias_norm"}):
        assert len(asked({"init": "pretrained", **change})) == 1, change
    assert asked({"swa": 0.2}) == asked({"ema": 0.5}) == []  # one more copy of the weights either way
    frozen = first_fold({"freeze": 0.5})
    for expected in ([8], []):
        gpu.measured.clear()
        plan_memory(recipe, frozen, 5, CUDA)
        assert gpu.measured == expected
    gpu.leave(model, 5000)
    assert asked({}) == [4]  # with less memory the remembered measurements decide first
    assert asked({}) == []


def test_what_did_not_fit_is_tried_again(gpu: PretendedGpu) -> None:
    model, recipe = first_fold(), Recipe.from_flat(SMALL)
    for _ in range(2):
        gpu.measured.clear()
        assert plan_memory(recipe, model, 5, CUDA).micro_batch == 8
        assert gpu.measured[0] == 16


def test_on_a_cpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "_measure", None)
    monkeypatch.setattr(gpu_memory, "free_bytes", None)
    plan = plan_memory(Recipe.from_flat(SMALL), first_fold(), 5, torch.device("cpu"))
    assert plan == MemoryPlan(micro_batch=16, offload=False)
    machine = run({"epochs": 1}).machine
    assert "memory_peak" not in machine and "parked" not in machine


@pytest.mark.slow
def test_a_training_starts_with_what_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "trial.pt"
    monkeypatch.setattr(fold_group, "plan_memory", lambda recipe, model, folds, device: MemoryPlan(micro_batch=folds))
    result = run({"epochs": 2}, competition(32, folds=4), on_epoch=after(1, Verdict.STOP), checkpoint=path)
    assert result.machine["micro_batch"] == 4
    # Resumed with less and with more memory: the smaller micro batch of then and now is used.
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=2))
    less = run({"epochs": 2}, competition(32, folds=4), checkpoint=path)
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16))
    more = run({"epochs": 2}, competition(32, folds=4), checkpoint=path)
    assert (less.machine["micro_batch"], more.machine["micro_batch"]) == (2, 4)


def test_the_share_of_a_process_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(device_memory, "_share", 1.0)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10)
    assert free_bytes(CUDA) == 70
    limit_memory(0.5)
    assert asked == [0.5]
    assert free_bytes(CUDA) == 40


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
LARGER = {"backbone": "resnet18", "image_size": 128, "batch_size": 64, "epochs": 2, "ema": 0.9}


@pytest.fixture
def whole_gpu() -> Iterator[int]:
    """Yields the bytes of the GPU; a limit set in between is lifted."""
    gpu_memory._measured.clear()
    yield torch.cuda.get_device_properties(CUDA).total_memory
    limit_memory(1.0)


@pytest.mark.gpu
@needs_gpu
def test_the_preflight_leaves_everything_as_it_was(whole_gpu: int) -> None:
    model = first_fold({**LARGER, "drop": 0.3}, "cuda")
    before, held = copy.deepcopy(model.state()), torch.cuda.memory_allocated()
    generators = torch.get_rng_state(), torch.cuda.get_rng_state()
    plan = plan_memory(Recipe.from_flat({**SMALL, **LARGER, "drop": 0.3}), model, 3, CUDA)
    assert plan == MemoryPlan(micro_batch=64, offload=False)
    assert same(model.state(), before)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert torch.equal(torch.cuda.get_rng_state(), generators[1])
    assert torch.cuda.memory_allocated() - held < 64 * 2**20  # cuBLAS keeps a workspace
    (measured,) = gpu_memory._measured.values()
    assert measured.kept > tensor_bytes(model.state())
    assert measured.step > 100 * 2**20


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_that_is_short_of_memory_trains_in_parts(whole_gpu: int, caplog: pytest.LogCaptureFixture) -> None:
    data = competition(96, size=128)
    roomy = run(LARGER, data, device="cuda")
    assert roomy.machine["micro_batch"] == 64
    peak = roomy.machine["memory_peak"]
    assert isinstance(peak, int)
    (measured,) = gpu_memory._measured.values()
    assert 0.8 * peak < bytes_needed(measured, 3) / 2**20 < 1.2 * peak
    torch.cuda.empty_cache()
    limit_memory((measured.kept + measured.step // 2 + torch.cuda.memory_reserved()) / whole_gpu)
    with caplog.at_level(logging.WARNING):
        tight = run(LARGER, data, device="cuda")
    assert tight.status == "finished"
    assert tight.machine["micro_batch"] < 64
    assert tight.machine["memory_peak"] < peak
    assert "images at a time do" in caplog.text


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_that_cannot_hold_all_folds_holds_one_at_a_time(whole_gpu: int) -> None:
    data = competition(96, size=128)
    roomy = run(LARGER, data, device="cuda")
    assert "parked" not in roomy.machine
    (measured,) = gpu_memory._measured.values()
    torch.cuda.empty_cache()
    limit_memory((1.5 * measured.kept + 1.1 * measured.step + torch.cuda.memory_reserved()) / whole_gpu)
    parked = run(LARGER, data, device="cuda")
    assert (parked.status, parked.machine["parked"], parked.machine["micro_batch"]) == ("finished", True, 64)
    peaks = roomy.machine["memory_peak"], parked.machine["memory_peak"]
    assert isinstance(peaks[0], int) and isinstance(peaks[1], int)
    assert peaks[0] - peaks[1] > 1.5 * measured.kept / 2**20, "two folds wait on the host"
    # cuDNN may choose other algorithms with less memory: alike, not the same.
    np.testing.assert_allclose(parked.oof, roomy.oof, atol=0.2)


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_on_which_nothing_fits_is_an_error_before_the_first_epoch(whole_gpu: int) -> None:
    torch.cuda.empty_cache()
    limit_memory((200 * 2**20 + torch.cuda.memory_reserved()) / whole_gpu)
    with pytest.raises(torch.OutOfMemoryError, match=r"resnet18 at 128 px needs .*; smaller images"):
        run(LARGER, competition(96, size=128), device="cuda")
