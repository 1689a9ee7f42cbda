"""Whether a training fits into a GPU's memory, found out before its first epoch.

For the whole training every fold keeps its network, averaged weights and optimizer state on the device. On top comes
what one fold at a time takes while it trains on a batch: gradients, activations, workspaces. Both are measured on a
copy of the first fold's model.

Where that is too much, there are two ways out. The folds that do not train can wait in host memory (parked), which
costs one copy of what a fold keeps each way per fold and epoch: some hundred MiB over a bus of ten or more GiB a
second, beside an epoch of seconds to minutes; and the training comes out the same, bit for bit. Or the batch can be
taken in parts (a smaller micro batch): each part keeps the device less busy, and batch normalisation sees other
batches, which makes it another training than the recipe asks for. So folds are parked before a batch is halved.

The answer is no promise, because memory is handed out in blocks and others may use the device, too: what runs out of
memory later still goes on with fewer images at a time.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from trainer.recipe.recipe import Recipe
from trainer.training.fold_model import FoldModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldMemory:
    """Bytes that one fold takes on its device."""

    kept: int
    """As long as the training lasts: weights, buffers, averaged weights, optimizer state."""
    step: int
    """On top while it trains on a batch, at the peak."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a training fits into its device."""

    micro_batch: int
    """Images per forward pass."""
    parked: bool = False
    """Whether the folds that do not train wait in host memory."""
    need: int = field(default=0, compare=False)
    """Bytes that it is expected to take at the peak; 0 where nothing was measured."""


_share = 1.0  # a setting of torch's allocator, which older torch cannot be asked for
_measured: dict[tuple[object, ...], FoldMemory] = {}  # by what it depends on: later trials of a kind skip the rehearsal


def limit_memory(share: float) -> None:
    """Let this process take at most ``share`` (0 .. 1) of the current GPU's memory.

    Of several workers on one GPU each then runs out of its own share, which makes its micro batch smaller, and none
    takes what the others count on. CUDA's own few hundred MiB per process come on top.

    Raises:
        ValueError: ``share`` is not within 0 .. 1.
        AssertionError, RuntimeError: there is no GPU.
    """
    global _share
    torch.cuda.set_per_process_memory_fraction(float(share))
    _share = share


def plan_memory(recipe: Recipe, model: FoldModel, folds: int, device: torch.device) -> MemoryPlan:
    """How a training of ``folds`` folds fits: how many images at a time it takes, and where the folds wait.

    On a GPU, a kind of training that this process has not seen yet is rehearsed for two batches. ``model`` and the
    random generators stay as they are. Elsewhere it is the whole batch with all folds in place, at no cost.

    Args:
        model: the first fold's, on ``device``, before its first step; the others are not there yet.

    Raises:
        torch.OutOfMemoryError: one image at a time is too much; the message says what is needed and what there is.
    """
    if device.type != "cuda":
        return MemoryPlan(micro_batch=recipe.batch_size)
    room = _free(device) + tensor_bytes(model.state())  # what this fold holds already is part of the need

    @functools.cache
    def measured(micro_batch: int) -> FoldMemory | None:
        return _memory(recipe, model, micro_batch, device)

    plan = first_fitting(recipe.batch_size, folds, measured, room)
    if plan is None:
        least = measured(1)
        need = math.inf if least is None else bytes_needed(least, folds, parked=True)
        raise torch.OutOfMemoryError(too_large_message(recipe, need, room, torch.cuda.get_device_name(device)))
    if plan.parked:
        log.info("%d folds do not fit into memory together; those that do not train wait in host memory.", folds)
    if plan.micro_batch < recipe.batch_size:
        log.warning(
            "A batch of %d does not fit into memory; %d images at a time do.", recipe.batch_size, plan.micro_batch
        )
    return plan


def bytes_needed(memory: FoldMemory, folds: int, *, parked: bool = False) -> int:
    """Bytes that ``folds`` folds in lockstep take at the peak: all keep theirs on the device, or the one at work."""
    return (1 if parked else folds) * memory.kept + memory.step


def bytes_free(*, device_free: int, device_total: int, share: float, reserved: int) -> int:
    """Bytes that this process may still take.

    Args:
        device_free: nobody has them.
        share: of ``device_total`` that this process may have, see `limit_memory`.
        reserved: bytes that it has already.
    """
    return max(0, min(device_free, int(share * device_total) - reserved))


def first_fitting(
    batch_size: int, folds: int, measured: Callable[[int], FoldMemory | None], room: int
) -> MemoryPlan | None:
    """The plan that needs at most ``room`` bytes with the largest of ``batch_size``, half of it, and so on down to 1;
    with this many images at a time folds are parked only where they have to be. None where nothing fits.

    Args:
        measured: what a fold takes with so many images at a time; None where it is more than there is.
    """
    micro_batch = batch_size
    while micro_batch:
        memory = measured(micro_batch)
        for parked in (False, True):
            if memory is not None and (need := bytes_needed(memory, folds, parked=parked)) <= room:
                return MemoryPlan(micro_batch=micro_batch, parked=parked, need=need)
        micro_batch //= 2
    return None


def too_large_message(recipe: Recipe, need: float, room: int, device_name: str) -> str:
    """For people: what does not fit, by how much, and what helps. ``need`` is infinite where it is not known."""
    what = f"{recipe.backbone} at {recipe.image_size} px"
    trained = "one fold and one image at a time"
    # Rounded away from each other: a need above the room never looks equal to it.
    there = f"{math.floor(room / 2**30 * 10) / 10:.1f} GiB"
    if math.isinf(need):
        problem = f"{what} needs more than the {there} that are free on {device_name} for {trained}"
    else:
        wanted = f"{math.ceil(need / 2**30 * 10) / 10:.1f} GiB"
        problem = f"{what} needs about {wanted} for {trained}; {there} are free on {device_name}"
    return f"{problem}; smaller images or another backbone help"


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(tensor_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(item) for item in value)
    return 0


def _free(device: torch.device) -> int:
    torch.cuda.empty_cache()  # what earlier trainings left in this process's cache is free
    device_free, device_total = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device)
    return bytes_free(device_free=device_free, device_total=device_total, share=_share, reserved=reserved)


def _memory(recipe: Recipe, model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory | None:
    """What a fold takes, measured once per kind of training; None where already one fold runs out of memory."""
    # What a step computes in follows from the device.
    step = (recipe.backbone, recipe.image_size, recipe.batch_size, micro_batch, device)
    averaged = recipe.ema > 0.0 or recipe.swa > 0.0
    # Frozen layers have no gradients, no optimizer state, and at the input no activations either.
    learning = sum(parameter.requires_grad for parameter in model.evaluated.parameters())
    kind = (*step, recipe.optimizer.name, averaged, learning)
    if kind not in _measured:
        memory = _measure(model, micro_batch, device)
        if memory is None:
            return None  # and not kept: next time there may be more room
        _measured[kind] = memory
    return _measured[kind]


def _measure(model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory | None:
    memory = None
    index = torch.cuda.current_device() if device.index is None else device.index
    with suppress(torch.OutOfMemoryError), torch.random.fork_rng(devices=[index]):
        memory = _rehearse(model, micro_batch, device)
    # Not in a handler: while that runs, the exception keeps the activations of the failed pass alive.
    torch.cuda.empty_cache()
    model.unpark()
    return memory


def _rehearse(model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory:
    """Two batches on a copy of ``model``, which is left parked: what fits with parked folds has to fit here, too."""
    copied = copy.deepcopy(model)
    model.park()
    # The first time the optimizer makes its state, and cuDNN tries algorithms that take more than the one it keeps.
    copied.rehearse(micro_batch)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    copied.rehearse(micro_batch)
    return FoldMemory(kept=tensor_bytes(copied.state()), step=torch.cuda.max_memory_allocated(device) - before)
