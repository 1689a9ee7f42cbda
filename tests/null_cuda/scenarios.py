"""What happens on the GPU that is not there: `main` runs a scenario in a process of its own.

Kernels compute nothing, so predictions are arbitrary; all images are black, so that what is left in memory is finite.
Each scenario prints its findings as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from benchmarks import first_gpu
from benchmarks.training.launches import step_times
from search.runtime.gpus.torch_report import report
from tests.null_cuda.gpu import gpu
from tests.null_cuda.shared_gpu import shared
from tests.trainer.training.support import SMALL, ArrayPixels, go_on, run
from trainer.common.memory_errors import is_out_of_memory
from trainer.recipe.recipe import Recipe
from trainer.training.folds import fold_group
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory.device_memory import GpuOccupied, release_memory
from trainer.training.folds.memory.gpu_memory import FoldMemory, MemoryPlan, bytes_needed
from trainer.training.folds.memory.gpu_memory import _measured as measured
from trainer.training.results import CVResult, EpochReport, TrainingData, Verdict

CUDA = torch.device("cuda")
MIB = 2**20
GPU = gpu()
LARGER: dict[str, Any] = {"image_size": 96, "batch_size": 48}
"""A batch whose activations take more memory than the network."""


def train(
    backbone: str,
    *,
    on_epoch: Callable[[EpochReport], Verdict] = go_on,
    checkpoint: Path | None = None,
    weights: Path | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Cross-validate on black images; return how it ended, and what is left of it afterwards."""
    side = changes.get("image_size", 32)
    images = np.zeros((72 + 12, side, side, 3), np.uint8)
    rows = np.arange(72, dtype=np.int64)
    data = TrainingData(pixels=ArrayPixels(images[:72], images[72:]), y=rows % 3, folds=rows // 3 % 3, num_classes=3)
    GPU.device_peak = GPU.device_bytes
    found: dict[str, Any]
    try:
        result: CVResult = run(
            {"backbone": backbone, "epochs": 2, "ema": 0.9, **changes},
            data,
            device="cuda",
            on_epoch=on_epoch,
            checkpoint=checkpoint,
            weights_dir=weights,
            keep_models=weights is not None,
        )
        types = sorted({str(tensor.dtype) for model in result.models for tensor in model.values()})
        found = {"ended": result.status, "reason": result.reason, "types": types, **result.machine}
    except GpuOccupied as problem:
        found = {"ended": "occupied", "reason": str(problem), "need": problem.shortage.need}
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            raise
        found = {"ended": "out of memory", "reason": str(problem)}
    release_memory(CUDA)
    return {
        **found,
        "device_peak": GPU.device_peak / MIB,
        "allocated": torch.cuda.memory_allocated(),
        "device_bytes": GPU.device_bytes,
        "pinned_bytes": GPU.pinned_bytes,
    }


def memory_of(backbone: str, **changes: Any) -> FoldMemory:
    """The rehearsal's measurement of a training with the whole batch."""
    measured.clear()
    assert train(backbone, **{"epochs": 1, **changes})["ended"] == "finished"
    (memory,) = measured.values()
    return memory


def families(*backbones: str) -> list[dict[str, Any]]:
    """One trial of each backbone."""
    return [{"backbone": backbone, **train(backbone)} for backbone in backbones]


def adapters(*backbones: str) -> list[dict[str, Any]]:
    """Trials of which low-rank adapters learn."""
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone in backbones:
            size = {"img_size": 32} if "vit" in backbone else {}
            network = timm.create_model(backbone, num_classes=0, **size)
            torch.save(network.state_dict(), Path(folder) / f"{backbone}.pth")
            trials.append(train(backbone, weights=Path(folder), init=backbone, tune="lora"))
    return trials


def parked(backbone: str) -> dict[str, Any]:
    """A training on a GPU that cannot hold all folds, and one fold that moves to the host and back."""
    memory = memory_of(backbone)
    GPU.total = int(1.25 * bytes_needed(memory, 3, offload=True)) + 2 * MIB
    pinned: list[int] = []
    offload = fold_group.FoldModel.offload

    def watch(model: fold_group.FoldModel) -> None:
        offload(model)
        pinned.append(GPU.pinned_bytes)

    fold_group.FoldModel.offload = watch  # type: ignore[method-assign]
    training = train(backbone)
    fold_group.FoldModel.offload = offload  # type: ignore[method-assign]
    GPU.total = 8 << 30
    return {**training, "kept": memory.kept, "pinned_peak": max(pinned)}


def _offloaded(backbone: str) -> dict[str, Any]:
    """One fold that moves to the host and back; compared on the host, because the GPU compares nothing."""
    model = fold_group.FoldModel(
        Recipe.from_flat({**SMALL, "backbone": backbone, "ema": 0.9}),
        fold=0,
        seed=0,
        train_y=np.arange(48) % 3,
        num_classes=3,
        device=CUDA,
        weights_dir=None,
    )
    model.rehearse(16)
    tensors = {id(tensor): tensor for tensor in model._kept() if tensor.is_cuda}
    before = [tensor.cpu() for tensor in tensors.values()]
    held = torch.cuda.memory_allocated()
    model.offload()
    freed = held - torch.cuda.memory_allocated()
    is_pinned = all(tensor.is_pinned() for tensor in tensors.values())
    on_host = [tensor.clone() for tensor in tensors.values()]
    model.load()
    after = [tensor.cpu() for tensor in tensors.values()]
    return {
        "tensors": len(tensors),
        "bytes": sum(tensor.nbytes for tensor in before),
        "freed": freed,
        "is_pinned": is_pinned,
        "is_on_the_gpu_again": all(tensor.is_cuda for tensor in tensors.values()),
        "is_unchanged": all(
            torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(before, on_host, after, strict=True)
        ),
    }


def offloaded(*backbones: str) -> list[dict[str, Any]]:
    """One fold of each backbone."""
    return [_offloaded(backbone) for backbone in backbones]


def ladder(backbone: str) -> list[dict[str, Any]]:
    """The same training on smaller and smaller GPUs."""
    memory = memory_of(backbone, **LARGER)
    most = 1.3 * bytes_needed(memory, 3) + 4 * MIB
    ended = []
    for share in (1.0, 0.75, 0.5, 0.35, 0.25, 0.1):
        measured.clear()
        GPU.total = int(share * most)
        ended.append(train(backbone, **LARGER))
    return ended


def others(backbone: str) -> dict[str, Any]:
    """Other programs fill the GPU before the training, or between two epochs, and leave again."""
    memory = memory_of(backbone)
    GPU.total = 512 * MIB
    GPU.others = GPU.total - memory.kept // 2
    found = {"before": train(backbone)}
    GPU.others = GPU.total - 24 * MIB
    found["little room"] = train(backbone)

    GPU.others = 0

    def fill(report: EpochReport) -> Verdict:
        if report.epoch == 1:
            torch.cuda.empty_cache()
            GPU.others = GPU.total - GPU.device_bytes
        return Verdict.CONTINUE

    found["during"] = train(backbone, on_epoch=fill)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.pt"
        GPU.others = 0
        found["stopped"] = train(backbone, checkpoint=path, on_epoch=lambda report: Verdict.STOP)
        GPU.others = GPU.total - memory.kept // 2
        found["resumed too early"] = train(backbone, checkpoint=path)
        GPU.others = 0
        seen: list[int] = []
        found["resumed"] = train(
            backbone, checkpoint=path, on_epoch=lambda report: seen.append(report.epoch) or Verdict.CONTINUE
        )
        found["resumed"]["epochs"] = seen
    return found


def libraries(backbone: str) -> dict[str, Any]:
    """cuDNN finds no memory for its workspace, at first and for good."""
    plan = fold_group.plan_memory
    fold_group.plan_memory = lambda recipe, model, folds, device: MemoryPlan(micro_batch=16, need=MIB)
    GPU.total = 2 << 30
    failed = 0

    def too_much_after(report: EpochReport) -> Verdict:
        nonlocal failed
        if report.epoch == 1:
            GPU.library_workspace = GPU.total
            failed += 1
        return Verdict.CONTINUE

    found = {"for good": train(backbone, on_epoch=too_much_after)}
    park = fold_group.FoldGroup._park_others

    def relieve(self: fold_group.FoldGroup, fold: int) -> None:
        GPU.library_workspace = 0
        park(self, fold)

    fold_group.FoldGroup._park_others = relieve  # type: ignore[method-assign]
    GPU.library_workspace = 0
    found["once"] = train(backbone, on_epoch=too_much_after)
    fold_group.FoldGroup._park_others = park  # type: ignore[method-assign]
    fold_group.plan_memory = plan
    assert failed == 2
    return found


def one_pixel(*backbones: str) -> list[dict[str, Any]]:
    """Networks that cannot train on a single image, on a GPU that is too small."""
    ended = []
    for backbone in backbones:
        GPU.total = 8 << 30
        memory = memory_of(backbone)
        measured.clear()
        GPU.total = int(3.0 * memory.kept + 0.2 * memory.step)
        ended.append({"backbone": backbone, **train(backbone)})
    return ended


def waits(backbone: str) -> dict[str, list[str]]:
    """Where the host waits for the GPU in a second epoch of six batches, by what is changed in the recipe."""
    found = {}
    for name, changes in {
        "plain": {},
        "mixup": {"augment.mix": "mixup", "augment.mix_prob": 1.0, "augment.mix_off": 0.0},
        "cutmix": {"augment.mix": "cutmix", "augment.mix_prob": 1.0, "augment.mix_off": 0.0},
        "average": {"ema": 0.9},
        "clipped": {"optimizer.clip_grad": 1.0},
        "nadam": {"optimizer.name": "nadam"},
        "weighted": {"loss.class_weight": 1.0},
        "adamp": {"optimizer.name": "adamp"},
    }.items():
        recipe = Recipe.from_flat({**SMALL, "backbone": backbone, "init": "scratch", "epochs": 3, **changes})
        y = np.arange(96) % 3
        model = FoldModel(recipe, fold=0, seed=0, train_y=y, num_classes=3, device=CUDA, weights_dir=None)
        batches = [(np.zeros((16, 32, 32, 3), np.uint8), y[:16])] * 6
        model.train_epoch(1, batches, 16)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            model.train_epoch(2, batches, 16)
            torch.cuda.set_sync_debug_mode("default")
        found[name] = [
            f"{Path(warning.filename).name}:{warning.lineno}"
            for warning in seen
            if "called a synchronizing" in str(warning.message)
        ]
    return found


def launches(backbone: str) -> dict[str, Any]:
    """A step as `benchmarks.first_gpu` measures it, and its verdict."""
    passed, found = first_gpu._idle(backbone, "cuda", 32)
    images = np.zeros((16, 32, 32, 3), np.uint8)
    times = step_times(first_gpu._model(backbone, "cuda", 32), (images, np.arange(16) % 10))
    return {**asdict(times), "idle": times.idle, "passed": passed, "found": found}


SCENARIOS: tuple[Callable[..., object], ...] = (
    families,
    adapters,
    parked,
    offloaded,
    ladder,
    others,
    libraries,
    one_pixel,
    waits,
    launches,
    shared,
    report,
)


def main() -> None:
    """Run a scenario: its name, the GPU's compute capability times ten, and arguments of the scenario."""
    _, name, capability, *arguments = sys.argv
    assert not torch.cuda.is_initialized(), "the process is a fork that cannot use the GPU"
    torch.backends.cuda.enable_cudnn_sdp(False)  # it asks cuDNN for more than the driver pretends
    GPU.capability = int(capability)
    scenario = {function.__name__: function for function in SCENARIOS}[name]
    print(json.dumps(scenario(*arguments)))
