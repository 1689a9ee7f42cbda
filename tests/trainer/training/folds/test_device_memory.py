"""The memory of a shared GPU: what is free, what others hold, and when a training waits for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.trainer.training.folds.test_gpu_memory import first_fold
from tests.trainer.training.support import SMALL, run
from trainer.recipe.recipe import Recipe
from trainer.training import cross_validation
from trainer.training.folds.memory import device_memory, gpu_memory
from trainer.training.folds.memory.device_memory import (
    GpuOccupied,
    limit_memory,
    release_memory,
    room,
    shortage,
    shortages,
)
from trainer.training.folds.memory.gpu_memory import FoldMemory, plan_memory, tensor_bytes

CUDA = torch.device("cuda")
CPU = torch.device("cpu")
GIB = 2**30
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nand advice")


class SharedGpu:
    """A GPU of 10 GiB, of which others hold some and this process has reserved some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.others, self.reserved, self.is_reachable = 0.0, 0.0, True
        monkeypatch.setattr(device_memory, "_share", 1.0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", self._info)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(self.reserved * GIB))
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share: None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "shared GPU")

    def _info(self, device: torch.device) -> tuple[int, int]:
        if not self.is_reachable:
            raise RuntimeError("CUDA error: out of memory")
        return int((10 - self.others - self.reserved) * GIB), 10 * GIB


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SharedGpu:
    return SharedGpu(monkeypatch)


def test_the_room_of_a_training_includes_what_this_process_holds(gpu: SharedGpu) -> None:
    gpu.others, gpu.reserved = 3.0, 2.0
    assert room(CUDA) == 7 * GIB
    limit_memory(0.5)
    assert room(CUDA) == 5 * GIB


@pytest.mark.parametrize(
    ("need", "others", "lacking"),
    [
        (4.0, 5.0, None),  # it fits
        (6.0, 5.0, 6.0),
        (9.0, 5.0, 9.0),
        (9.1, 5.0, None),  # more than a GPU has without others
        (math.inf, 5.0, 5.5),
        (math.inf, 0.1, None),  # hardly more could become free
    ],
)
def test_only_what_the_whole_gpu_could_hold_is_a_matter_of_others(
    gpu: SharedGpu, need: float, others: float, lacking: float | None
) -> None:
    gpu.others = others
    found = shortage(CUDA, need * GIB)
    assert (None if found is None else found.need) == (None if lacking is None else lacking * GIB)
    if found is not None:
        assert not found.is_over
        gpu.others = 10 - found.need / GIB
        assert found.is_over


def test_what_this_process_needs_otherwise_is_not_free_for_a_training(gpu: SharedGpu) -> None:
    gpu.others = 5.0
    assert shortage(CUDA, 4.9 * GIB) is None
    found = shortage(CUDA, 4.9 * GIB, found_free=int(4.8 * GIB))
    assert found is not None and not found.is_over
    gpu.others = 4.8
    assert found.is_over


def test_what_exceeds_the_share_of_a_process_is_too_large(gpu: SharedGpu) -> None:
    gpu.others = 7.0
    assert shortage(CUDA, 4.0 * GIB) is not None
    limit_memory(0.4)
    assert shortage(CUDA, 4.0 * GIB) is None
    assert shortage(CUDA, 3.5 * GIB) is not None


def test_a_gpu_without_room_for_cuda_itself_is_occupied(gpu: SharedGpu) -> None:
    gpu.is_reachable = False
    assert room(CUDA) == 0
    found = shortage(CUDA, 3.0 * GIB)
    assert found is not None and not found.is_over
    gpu.is_reachable = True
    assert found.is_over


def test_memory_that_others_take_during_a_training_is_theirs(gpu: SharedGpu) -> None:
    with pytest.raises(GpuOccupied) as caught, shortages(CUDA) as memory:
        memory.bytes = 6 * GIB
        gpu.others, gpu.reserved = 7.0, 1.0
        raise OUT_OF_MEMORY
    assert caught.value.shortage.need == 6 * GIB
    assert str(caught.value) == (
        "memory ran out in a training that needs about 6.0 GiB; other programs hold 7.0 of the GPU's 10.0 GiB"
    )


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, RuntimeError("a bug"), KeyError("x")])
def test_an_error_without_others_is_passed_on(gpu: SharedGpu, error: Exception) -> None:
    gpu.reserved = 9.0
    with pytest.raises(type(error)) as caught, shortages(CUDA) as memory:
        memory.bytes = 6 * GIB
        raise error
    assert caught.value is error


def test_a_cpu_has_no_others() -> None:
    with pytest.raises(torch.OutOfMemoryError), shortages(CPU):
        raise OUT_OF_MEMORY
    release_memory(CPU)


def test_a_plan_waits_for_memory_that_others_hold(gpu: SharedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "_measured", {})
    measured: list[FoldMemory | None] = [FoldMemory(kept=GIB, step=2 * GIB)]
    monkeypatch.setattr(gpu_memory, "_measure", lambda *args: measured[0])
    recipe, model = Recipe.from_flat(SMALL), first_fold()
    gpu.others, gpu.reserved = 8.0, tensor_bytes(model.state()) / GIB
    with pytest.raises(
        GpuOccupied, match=r"test_resnet at 32 px needs about 3.0 GiB .* hold 8.0 of the GPU's 10.0"
    ) as caught:
        plan_memory(recipe, model, 5, CUDA)
    assert caught.value.shortage.need == 3 * GIB
    measured[0], gpu_memory._measured = None, {}
    with pytest.raises(GpuOccupied, match=r"needs more than the 2\.0 GiB that are free on shared GPU"):
        plan_memory(recipe, model, 5, CUDA)
    measured[0] = FoldMemory(kept=GIB, step=9 * GIB)
    with pytest.raises(torch.OutOfMemoryError, match="smaller images or another backbone help"):
        plan_memory(recipe, model, 5, CUDA)
    gpu.others, measured[0], gpu_memory._measured = 0.0, FoldMemory(kept=GIB, step=2 * GIB), {}
    assert plan_memory(recipe, model, 5, CUDA).need == 7 * GIB


def test_a_training_leaves_no_models_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is given back after the folds are gone, not while they still hold it."""
    events: list[str] = []
    close = cross_validation.Lockstep.close

    def spy_close(self: Any) -> None:
        close(self)
        events.append(f"{len(self._folds)} folds")

    monkeypatch.setattr(cross_validation.Lockstep, "close", spy_close)
    monkeypatch.setattr(cross_validation, "release_memory", lambda device: events.append(f"release {device}"))
    assert run({"epochs": 1}).status == "finished"
    assert events == ["0 folds", "release cpu"]
