"""Whether a training fits into a GPU's memory, found out before its first epoch.

For the whole training every fold keeps its network, averaged weights and optimizer state on the device. On top comes
what one fold at a time takes while it trains on a batch: gradients, activations, workspaces. Both are measured on a
copy of the first fold's model. The answer is no promise, because memory is handed out in blocks and others may use the
device, too: what runs out of memory later still goes on with fewer images at a time.
"""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from trainer.fold_model import FoldModel
from trainer.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldMemory:
    """Bytes that one fold takes on its device."""

    kept: int
    """As long as the training lasts: weights, buffers, averaged weights, optimizer state."""
    step: int
    """On top while it trains on a batch, at the peak."""


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


def fitting_micro_batch(recipe: Recipe, model: FoldModel, folds: int, device: torch.device) -> int:
    """How many images at a time a training of ``folds`` folds can take: the whole batch, or half of it, and so on.

    On a GPU, a kind of training that this process has not seen yet is rehearsed for two batches. ``model`` and the
    random generators stay as they are. Elsewhere it is the whole batch, at no cost.

    Args:
        model: the first fold's, on ``device``, before its first step; the others are not there yet.

    Raises:
        torch.OutOfMemoryError: one image at a time is too much; the message says what is needed and what there is.
    """
    if device.type != "cuda":
        return recipe.batch_size
    room = _free(device) + tensor_bytes(model.state())  # what this fold holds already is part of the need

    @functools.cache
    def need(micro_batch: int) -> float:
        memory = _memory(recipe, model, micro_batch, device)
        return math.inf if memory is None else bytes_needed(memory, folds)

    fitting = largest_fitting(recipe.batch_size, need, room)
    if fitting == 0:
        name = torch.cuda.get_device_name(device)
        raise torch.OutOfMemoryError(too_large_message(recipe, folds, need(1), room, name))
    if fitting < recipe.batch_size:
        log.warning("A batch of %d does not fit into memory; %d images at a time do.", recipe.batch_size, fitting)
    return fitting


def bytes_needed(memory: FoldMemory, folds: int) -> int:
    """Bytes that ``folds`` folds in lockstep take at the peak: all keep theirs, one trains."""
    return folds * memory.kept + memory.step


def bytes_free(*, device_free: int, device_total: int, share: float, reserved: int) -> int:
    """Bytes that this process may still take.

    Args:
        device_free: nobody has them.
        share: of ``device_total`` that this process may have, see `limit_memory`.
        reserved: bytes that it has already.
    """
    return max(0, min(device_free, int(share * device_total) - reserved))


def largest_fitting(batch_size: int, need: Callable[[int], float], room: int) -> int:
    """The first of ``batch_size``, half of it, and so on down to 1 that needs at most ``room`` bytes; else 0."""
    micro_batch = batch_size
    while micro_batch and need(micro_batch) > room:
        micro_batch //= 2
    return micro_batch


def too_large_message(recipe: Recipe, folds: int, need: float, room: int, device_name: str) -> str:
    """For people: what does not fit, by how much, and what helps. ``need`` is infinite where it is not known."""
    what = f"{recipe.backbone} at {recipe.image_size} px"
    trained = f"{folds} folds in lockstep" if folds > 1 else "one fold"
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
    kind = (*step, recipe.optimizer.name, recipe.ema > 0.0)
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
        memory = _rehearse(copy.deepcopy(model), micro_batch, device)
    # Not in a handler: while that runs, the exception keeps the activations of the failed pass alive.
    torch.cuda.empty_cache()
    return memory


def _rehearse(model: FoldModel, micro_batch: int, device: torch.device) -> FoldMemory:
    # The first time the optimizer makes its state, and cuDNN tries algorithms that take more than the one it keeps.
    model.rehearse(micro_batch)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    model.rehearse(micro_batch)
    return FoldMemory(kept=tensor_bytes(model.state()), step=torch.cuda.max_memory_allocated(device) - before)
