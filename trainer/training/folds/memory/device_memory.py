"""The memory of a GPU: what this process may use, what other programs hold, and what is given back."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from trainer.common.errors import TrainerError
from trainer.common.memory_errors import is_out_of_memory

USABLE = 0.9
"""Share of a GPU's memory that a training can have where no other program runs; drivers and CUDA need the rest."""
GROWTH = 0.05
"""Share of a GPU's memory that has to become free before a training of unknown size is tried again."""
UNREACHABLE = 2**30
"""Bytes that have to become free on a GPU without room for CUDA's own part."""


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """What a training lacks on a GPU that other programs use as well."""

    device: torch.device
    need: int
    """Bytes from which another attempt is reasonable."""

    @property
    def is_over(self) -> bool:
        """Whether so much is free now."""
        return room(self.device) >= self.need


class GpuOccupied(TrainerError):
    """A training does not fit beside other programs, but it would fit if they did not use the GPU."""

    def __init__(self, message: str, shortage: Shortage) -> None:
        super().__init__(message)
        self.shortage = shortage


class ExpectedNeed:
    """Bytes that the training of a `shortages` block needs."""

    bytes: float = math.inf
    """Infinite until it is known."""


_share = 1.0  # kept here because older torch cannot report this setting of its allocator


def limit_memory(share: float) -> None:
    """Let this process take at most ``share`` (0 .. 1) of the current GPU's memory.

    With several workers on one GPU, each then fits its micro batch into its own share and leaves the others theirs. The
    few hundred MiB that CUDA itself needs per process come on top.

    Raises:
        ValueError: ``share`` is not within 0 .. 1.
        AssertionError, RuntimeError: there is no GPU.
    """
    global _share
    torch.cuda.set_per_process_memory_fraction(float(share))
    _share = share


def bytes_free(*, device_free: int, device_total: int, share: float, reserved: int) -> int:
    """Bytes that this process may still take.

    Args:
        device_free: bytes that no process has allocated.
        device_total: bytes of the device.
        share: of ``device_total`` that this process may take, see `limit_memory`.
        reserved: bytes that this process has already.
    """
    return max(0, min(device_free, int(share * device_total) - reserved))


def free_bytes(device: torch.device) -> int:
    """Bytes of a GPU that this process may still take, after it has given back what it does not use."""
    torch.cuda.empty_cache()  # frees what earlier trainings left in this process's cache
    device_free, device_total = _free_and_total(device)
    reserved = torch.cuda.memory_reserved(device)
    return bytes_free(device_free=device_free, device_total=device_total, share=_share, reserved=reserved)


def room(device: torch.device) -> int:
    """Bytes of a GPU that one training in this process may take, if nothing else runs in it."""
    device_free, device_total = _free_and_total(device)
    return min(device_free + torch.cuda.memory_reserved(device), int(_share * device_total))


def release_memory(device: torch.device) -> None:
    """Give back the memory that torch keeps for later: that of the GPU, and the pinned memory of the host.

    CUDA's own few hundred MiB stay until the process ends.
    """
    if device.type != "cuda":
        return
    gc.collect()  # an exception and its traceback may refer to each other, and to tensors
    torch.cuda.empty_cache()
    empty_host_cache = getattr(torch.accelerator, "empty_host_cache", None)  # not in older torch
    if empty_host_cache is not None:
        empty_host_cache()


def shortage(
    device: torch.device, need: float, *, usable: float = USABLE, found_free: int | None = None
) -> Shortage | None:
    """What a training of ``need`` bytes lacks, if other programs hold it; None if the training itself is too large.

    Args:
        need: infinite if it is unknown. Then the training is believed to fit into what other programs hold.
        usable: share of the GPU's memory that the training can have without the other programs.
        found_free: bytes that were free for the training, if fewer than `room`, which counts all of this process.
    """
    device_total = _free_and_total(device)[1]
    if not device_total:
        return Shortage(device=device, need=UNREACHABLE)
    there, whole = room(device), usable * _share * device_total
    unusable = 0 if found_free is None else max(0, there - found_free)
    wanted = there + GROWTH * device_total if math.isinf(need) else need + unusable
    return Shortage(device=device, need=math.ceil(wanted)) if there < wanted <= whole else None


@contextmanager
def shortages(device: torch.device) -> Iterator[ExpectedNeed]:
    """Raise `GpuOccupied` for a lack of memory within the block, if other programs hold what the block needs.

    The caller sets the need as soon as it is known, and known to fit.
    """
    need = ExpectedNeed()
    try:
        yield need
    except RuntimeError as error:
        if device.type != "cuda" or not is_out_of_memory(error):
            raise
        found = shortage(device, need.bytes, usable=USABLE if math.isinf(need.bytes) else 1.0)
        if found is None:
            raise
        problem = "memory ran out before it was known how much the training needs"
        if not math.isinf(need.bytes):
            problem = f"memory ran out in a training that needs about {need.bytes / 2**30:.1f} GiB"
        raise GpuOccupied(occupied_message(found, problem), found) from error


def occupied_message(lacking: Shortage, problem: str) -> str:
    """Say what other programs hold. ``problem`` says what did not fit."""
    device_free, device_total = _free_and_total(lacking.device)
    if not device_total:
        return f"{problem}; other programs hold all memory of the GPU"
    held = device_total - device_free - torch.cuda.memory_reserved(lacking.device)
    return f"{problem}; other programs hold {held / 2**30:.1f} of the GPU's {device_total / 2**30:.1f} GiB"


def _free_and_total(device: torch.device) -> tuple[int, int]:
    """Bytes that no process has allocated, and all; both 0 if not even CUDA's own part fits."""
    try:
        return torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 0, 0
