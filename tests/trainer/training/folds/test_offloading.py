"""Offloaded folds come back unchanged: the same training, bit for bit.

The device is the CPU here, where offloading makes copies as well. The tests check that nothing uses the old tensors.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.training.folds.test_gpu_memory import first_fold, same
from tests.trainer.training.support import after, run
from tests.trainer.training.test_resume import EVERYTHING, assert_same
from trainer.recipe.optimizer_table import OPTIMIZERS
from trainer.training.folds import fold_group
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory import offloading
from trainer.training.folds.memory.gpu_memory import MemoryPlan
from trainer.training.folds.memory.offloading import CHUNK, HostMemory, Offloader
from trainer.training.results import CVResult, EpochReport, Verdict

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def in_place() -> CVResult:
    torch.set_num_threads(1)
    return run(EVERYTHING, keep_models=True)


@pytest.fixture
def offloaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a training offload idle folds; the list gets a 0 for each offloading and a 1 for each loading."""
    monkeypatch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16, offload=True))
    moves: list[int] = []
    at_work: set[int] = set()
    offload, load = FoldModel.offload, FoldModel.load

    def spy_offload(self: FoldModel) -> None:
        offload(self)
        at_work.discard(id(self))
        moves.append(0)

    def spy_load(self: FoldModel) -> None:
        assert not at_work, "the fold before is offloaded first"
        load(self)
        # Overwritten, so that a later use of the host's copy instead of the loaded tensor changes the result.
        for tensor, host_copy in self._offloader._host_copies.values():
            assert tensor.data_ptr() != host_copy.data_ptr()
            host_copy.fill_(True) if host_copy.dtype is torch.bool else host_copy.fill_(77)
        at_work.add(id(self))
        moves.append(1)

    monkeypatch.setattr(FoldModel, "offload", spy_offload)
    monkeypatch.setattr(FoldModel, "load", spy_load)
    return moves


@pytest.mark.slow
def test_a_training_with_offloaded_folds_is_the_same(offloaded: list[int], in_place: CVResult) -> None:
    """Three folds are offloaded at first; each of three epochs and the test predictions load every fold once."""
    result = run(EVERYTHING, keep_models=True)
    assert offloaded == [0] * 3 + [1, 0] * (3 * 3 + 3)
    assert result.machine["parked"] is True
    assert_same(in_place, result)
    for waited, stayed in zip(result.models, in_place.models, strict=True):
        assert same(waited, stayed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "test_vit", "optimizer.name": "lamb", "swa": 0.5, "ema": 0.0},
        {"optimizer.name": "sgd", "freeze": 0.5, "tta": "hflip", "ema": 0.0},
        {"optimizer.name": "radam", "optimizer.clip_grad": 1.0, "loss.class_weight": 1.0},
    ],
    ids=["lamb", "sgd", "radam"],
)
def test_offloading_changes_no_other_recipe_either(changes: dict[str, Any], request: pytest.FixtureRequest) -> None:
    recipe = {**EVERYTHING, "epochs": 2, **changes}
    stayed = run(recipe)
    moves: list[int] = request.getfixturevalue("offloaded")
    assert_same(stayed, run(recipe))
    assert moves


@pytest.mark.slow
def test_a_checkpoint_of_offloaded_folds_is_like_any_other(
    offloaded: list[int], in_place: CVResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while all are offloaded, resumed without; killed after a checkpoint in the background, resumed with."""
    path = tmp_path / "trial.pt"
    stopped = run(EVERYTHING, on_epoch=after(1, Verdict.STOP), checkpoint=path)
    assert stopped.status == "stopped" and offloaded[-1] == 0
    with monkeypatch.context() as patch:
        patch.setattr(fold_group, "plan_memory", lambda *args: MemoryPlan(micro_batch=16))
        moves = len(offloaded)
        assert_same(in_place, run(EVERYTHING, checkpoint=path))
        assert len(offloaded) == moves

    path.unlink()
    now = 0.0

    def killed(report: EpochReport) -> Verdict:
        nonlocal now
        now += 120.0  # seconds: every epoch is checkpointed
        if report.epoch == 2:
            raise KeyboardInterrupt
        return Verdict.CONTINUE

    with pytest.raises(KeyboardInterrupt):
        run(EVERYTHING, on_epoch=killed, checkpoint=path, clock=lambda: now)
    seen: list[int] = []
    continued = run(EVERYTHING, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE, checkpoint=path)
    assert seen == [2, 3]
    assert_same(in_place, continued)


@pytest.mark.slow
def test_folds_that_are_offloaded_when_memory_runs_out_train_on_unchanged(
    in_place: CVResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second fold's second epoch: the batch is repeated with as many images, and nothing else changes."""
    accumulate, moves = FoldModel._accumulate, 0
    offload = FoldModel.offload

    def fail_once(self: FoldModel, *args: Any) -> torch.Tensor:
        loss = accumulate(self, *args)
        if self._fold == 1 and self._optimizer.state and self.park_others is not None and len(seen) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    def count(self: FoldModel) -> None:
        nonlocal moves
        moves += 1
        offload(self)

    seen: list[int] = []
    monkeypatch.setattr(FoldModel, "_accumulate", fail_once)
    monkeypatch.setattr(FoldModel, "offload", count)
    result = run(EVERYTHING, keep_models=True, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE)
    assert moves == 2 + 2 + 3 + 3  # the others; what is left of the second epoch; the third; the last predictions
    assert (result.machine["parked"], result.machine["micro_batch"]) == (True, 16)
    assert_same(in_place, result)
    for waited, stayed in zip(result.models, in_place.models, strict=True):
        assert same(waited, stayed)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_everything_that_a_fold_keeps_is_offloaded_and_comes_back(optimizer: str) -> None:
    model = first_fold({"optimizer.name": optimizer, "ema": 0.9})
    model.rehearse(16)
    before = copy.deepcopy(model.state())
    old = places(model)
    model.offload()
    assert not old & places(model)
    assert same(model.state(), before), "the state can be read while it is offloaded"
    with pytest.raises(AssertionError):
        model.offload()
    model.load()
    back = copy.deepcopy(model.state())
    model.load()
    assert same(back, before) and same(model.state(), before)
    # The optimizer and the average still refer to the network's own weights.
    model.rehearse(16)
    assert not same(model.state()["model"], before["model"])
    assert not same(model.state()["average"], before["average"])
    assert not same(model.state()["optimizer"], before["optimizer"])


def places(model: FoldModel) -> set[int]:
    """Addresses of the tensors, except for LAMB's step counters of a few bytes, which are not offloaded."""
    state = model.state()
    kept = [state["model"], state["average"], state["optimizer"]["state"]]
    return {tensor.data_ptr() for tensor in tensors(kept) if tensor.numel()}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in inner for tensor in tensors(item)]


def test_the_host_memory_is_reused_unless_a_tensor_changes_its_layout() -> None:
    offloader = Offloader(CPU)
    weight = torch.nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    shared, other = weight, torch.arange(5)
    values, strides = weight.detach().clone(), weight.stride()
    used = []
    for _ in range(2):
        offloader.offload([weight, shared, other])
        used.append(weight.data_ptr())
        offloader.load()
        assert torch.equal(weight, values) and weight.stride() == strides and weight.requires_grad
    assert used[0] == used[1]
    assert len(offloader._host_copies) == 2, "a shared tensor is moved once"
    weight.data = torch.randn(1, 2, 3, 3)
    offloader.offload([weight])
    assert weight.shape == (1, 2, 3, 3) and len(offloader._host_copies) == 1
    weight.data += 1.0
    offloader.load()
    assert weight.shape == (1, 2, 3, 3)


def test_tensors_on_another_device_stay_there() -> None:
    """Step counters of some optimizers are on the CPU even if the network is on a GPU."""
    elsewhere = torch.zeros(3, device="meta")
    offloader = Offloader(CPU)
    offloader.offload([elsewhere])
    assert elsewhere.device.type == "meta" and not offloader._host_copies


def allocations(monkeypatch: pytest.MonkeyPatch, *, refuse_pinned: bool = False) -> list[tuple[int, bool]]:
    """Bytes of each allocation of host memory, and whether it is pinned. Without a GPU none is really pinned."""
    made: list[tuple[int, bool]] = []

    def empty(elements: int, *, dtype: torch.dtype, pin_memory: bool = False) -> torch.Tensor:
        if pin_memory and refuse_pinned:
            raise RuntimeError("CUDA error: out of memory")
        made.append((elements * dtype.itemsize, pin_memory))
        return torch.zeros(elements, dtype=dtype)

    monkeypatch.setattr(offloading.torch, "empty", empty)
    return made


TENSORS = [
    torch.rand(64, 3, 7, 7).to(memory_format=torch.channels_last),
    torch.rand(5).expand(4, 5),
    torch.tensor(3),
    torch.rand(1_100_000),  # a little more than a power of two
    torch.rand(7, 9).t(),
    torch.ones(13, dtype=torch.bool),
    *(torch.rand(n) for n in range(100, 900, 7)),
    torch.rand(0),
    torch.rand(8, 8, dtype=torch.float64)[:, ::2],
]


def test_host_memory_has_the_layout_of_the_tensors_and_none_twice() -> None:
    memory = HostMemory(is_pinned=False)
    copies = [memory.like(tensor) for tensor in TENSORS]
    for copied, tensor in zip(copies, TENSORS, strict=True):
        copied.copy_(tensor)
    for copied, tensor in zip(copies, TENSORS, strict=True):
        assert torch.equal(copied, tensor), "no other tensor has the same memory"
        assert (copied.shape, copied.dtype) == (tensor.shape, tensor.dtype)
        assert copied.stride() == torch.empty_like(tensor).stride()
        assert copied.data_ptr() % 8 == 0


def test_pinned_memory_is_hardly_more_than_the_tensors_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each size is a power of two, to which torch rounds."""
    made = allocations(monkeypatch)
    memory = HostMemory(is_pinned=True)
    tensors = [torch.rand(size) for size in (1_100_000, 2_100_000, 600_000, *range(300_000, 1000, -1700))]
    for tensor in tensors:
        memory.like(tensor)
    assert all(size == 1 << (size - 1).bit_length() and is_pinned for size, is_pinned in made)
    needed = sum(tensor.nbytes for tensor in tensors)
    rounded = sum(1 << (tensor.nbytes - 1).bit_length() for tensor in tensors)
    assert sum(size for size, _ in made) - needed < 2 * CHUNK < (rounded - needed) / 3


def test_memory_that_cannot_be_pinned_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = allocations(monkeypatch, refuse_pinned=True)
    memory = HostMemory(is_pinned=True)
    assert memory.like(torch.rand(1000)).shape == (1000,)
    assert [is_pinned for _, is_pinned in made] == [False]
