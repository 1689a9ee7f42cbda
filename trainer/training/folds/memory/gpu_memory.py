"""Planning a training's GPU memory before its first epoch.

Every fold keeps its network, averaged weights and optimizer state on the device for the whole training. The fold that
trains on a batch needs memory on top: gradients, activations, workspaces. Both are measured on a copy of the first
fold's model.

If that is too much, there are two remedies:

1. Offloading: the folds that do not train wait in host memory. This costs one copy each way per fold and epoch: some
   hundred MiB over a bus of ten or more GiB a second, beside an epoch of seconds to minutes. The result is the same,
   bit for bit.
2. A smaller micro batch: the batch is processed in parts. Smaller parts use the device less efficiently, and batch
   normalisation sees smaller batches, so the training differs from the recipe.

Therefore folds are offloaded before a batch is halved.

torch takes memory from the device in blocks, so it takes more than the tensors need. The plan leaves a margin for that
(`MARGIN`). It is no guarantee, because other processes may use the device. A training that runs out of memory later
takes the same remedies in the same order.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from trainer.common.memory_errors import is_out_of_memory
from trainer.recipe.recipe import Recipe
from trainer.training.folds.fold_model import FoldModel
from trainer.training.folds.memory.device_memory import GpuOccupied, free_bytes, occupied_message, shortage

MARGIN = 1.2
"""Memory that torch takes from the device, relative to what its tensors need at the peak."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldMemory:
    """Bytes that one fold takes on its device."""

    kept: int
    """Bytes during the whole training: weights, buffers, averaged weights, optimizer state."""
    step: int
    """Peak of the additional bytes while the fold trains on a batch."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a training fits into the memory of its device."""

    micro_batch: int
    """Images per forward pass."""
    offload: bool = False
    """Whether the folds that do not train wait in host memory."""
    need: int = field(default=0, compare=False)
    """Expected peak of the tensors in bytes; 0 if nothing was measured."""


_measured: dict[tuple[object, ...], FoldMemory] = {}  # by kind of training, so that later trials skip the rehearsal


def plan_memory(recipe: Recipe, model: FoldModel, folds: int, device: torch.device) -> MemoryPlan:
    """Choose how many images at a time a training of ``folds`` folds processes, and whether folds are offloaded.

    On a GPU, a kind of training that is new to this process is rehearsed for two batches; ``model`` and the random
    generators stay unchanged. On a CPU the plan is the whole batch without offloading, and nothing is measured.

    Args:
        model: the first fold's model, on ``device``, before its first step. The others must not exist yet.

    Raises:
        torch.OutOfMemoryError: even one image at a time does not fit; the message says what is needed and what is free.
        GpuOccupied: the same, while other programs hold memory that would suffice.
    """
    if device.type != "cuda":
        return MemoryPlan(micro_batch=recipe.batch_size)
    room = free_bytes(device) + tensor_bytes(model.state())  # the need includes what this model already holds

    @functools.cache
    def measured(micro_batch: int) -> FoldMemory | None:
        return _memory(recipe, model, micro_batch, device)

    plan = first_fitting(recipe.batch_size, folds, measured, room)
    if plan is None:
        least = measured(1)
        need = math.inf if least is None else bytes_needed(least, folds, offload=True)
        name = torch.cuda.get_device_name(device)
        lacking = shortage(device, need, found_free=room)
        if lacking is None:
            raise torch.OutOfMemoryError(too_large_message(recipe, need, room, name, images=model.least_part))
        raise GpuOccupied(occupied_message(lacking, need_message(recipe, need, room, name, model.least_part)), lacking)
    plan = replace(plan, micro_batch=max(plan.micro_batch, model.least_part))
    if plan.offload:
        log.info("%d folds do not fit into memory together; folds that do not train wait in host memory.", folds)
    if plan.micro_batch < recipe.batch_size:
        log.warning(
            "A batch of %d images does not fit into memory; %d images at a time do.",
            recipe.batch_size,
            plan.micro_batch,
        )
    return plan


def bytes_needed(memory: FoldMemory, folds: int, *, offload: bool = False) -> int:
    """Peak bytes of ``folds`` folds in lockstep: all of them stay on the device, or with ``offload`` only one."""
    return (1 if offload else folds) * memory.kept + memory.step


def first_fitting(
    batch_size: int, folds: int, measured: Callable[[int], FoldMemory | None], room: int
) -> MemoryPlan | None:
    """The plan with the largest micro batch that needs at most ``room`` bytes with `MARGIN`; None if nothing fits.

    The micro batches tried are ``batch_size``, half of it, and so on down to 1. With each of them, folds are offloaded
    only if they do not fit otherwise. The last of these plans is also taken without a margin: no other follows it.

    Args:
        measured: the memory of a fold with a given micro batch; None if it is more than the device has.
    """
    micro_batch = batch_size
    while micro_batch:
        memory = measured(micro_batch)
        for offload in (False, True):
            is_last = micro_batch == 1 and (offload or folds == 1)
            margin = 1.0 if is_last else MARGIN
            if memory is not None and margin * (need := bytes_needed(memory, folds, offload=offload)) <= room:
                return MemoryPlan(micro_batch=micro_batch, offload=offload, need=need)
        micro_batch //= 2
    return None


def too_large_message(recipe: Recipe, need: float, room: int, device_name: str, images: int = 1) -> str:
    """Explain what does not fit, by how much, and what helps. The arguments are those of `need_message`."""
    return f"{need_message(recipe, need, room, device_name, images)}; smaller images or another backbone help"


def need_message(recipe: Recipe, need: float, room: int, device_name: str, images: int) -> str:
    """Say what a training needs and what is free.

    Args:
        need: infinite if it is unknown.
        images: the fewest images at a time that the network can train on.
    """
    what = f"{recipe.backbone} at {recipe.image_size} px"
    trained = f"one fold and {'one image' if images == 1 else f'{images} images'} at a time"
    # Rounded in opposite directions, so that a need above the room is never displayed as equal to it.
    there = f"{math.floor(room / 2**30 * 10) / 10:.1f} GiB"
    if math.isinf(need):
        return f"{what} needs more than the {there} that are free on {device_name} for {trained}"
    wanted = f"{math.ceil(need / 2**30 * 10) / 10:.1f} GiB"
    return f"{what} needs about {wanted} for {trained}; {there} are free on {device_name}"


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(tensor_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(item) for item in value)
    return 0


def _memory(recipe: Recipe, model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory | None:
    """The memory of a fold, measured once per kind of training; None if even one fold runs out of memory."""
    # The device also determines the precision.
    step = (recipe.backbone, recipe.image_size, recipe.batch_size, micro_batch, device)
    copies = (recipe.ema > 0.0 or recipe.swa > 0.0, recipe.wise_ft)
    # Frozen layers have no gradients and no optimizer state; those at the input keep no activations either.
    learning = sum(parameter.requires_grad for parameter in model.evaluated.parameters())
    kind = (*step, recipe.optimizer.name, copies, learning, recipe.norm, recipe.tune, recipe.lora_rank)
    if kind not in _measured:
        memory = _measure(model, micro_batch, device)
        if memory is None:
            return None  # not remembered: next time there may be more room
        _measured[kind] = memory
    return _measured[kind]


def _measure(model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory | None:
    memory = None
    index = torch.cuda.current_device() if device.index is None else device.index
    with torch.random.fork_rng(devices=[index]):
        try:
            memory = _rehearse(model, micro_batch, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
    # Not in a handler: there the exception would keep the activations of the failed pass alive.
    torch.cuda.empty_cache()
    model.load()
    return memory


def _rehearse(model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory:
    """Train a copy of ``model`` on two batches; ``model`` stays offloaded.

    Without offloading it, the rehearsal would need more memory than a training with offloaded folds.
    """
    copied = copy.deepcopy(model)
    model.offload()
    # In the first step the optimizer allocates its state, and cuDNN tries algorithms that need more memory than the
    # one it chooses.
    try:
        copied.rehearse(micro_batch)
    finally:
        model.least_part = copied.least_part
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    copied.rehearse(micro_batch)
    # In the state, the starting weights of `wise_ft` stand for the interpolated copy, which is as large.
    return FoldMemory(kept=tensor_bytes(copied.state()), step=torch.cuda.max_memory_allocated(device) - before)
