"""Which devices local workers may use. Asks ``nvidia-smi``, so that the parent process never has to import torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

OCCUPIED_MEMORY = 1024  # MiB in use by others from which a GPU counts as taken; an idle desktop needs less
NVIDIA_SMI_TIMEOUT = 20.0  # seconds


class DeviceError(RuntimeError):
    """A GPU was asked for that is not there."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as ``nvidia-smi`` lists it; memory in MiB."""

    index: int
    uuid: str
    name: str
    memory_used: int


def list_gpus() -> tuple[Gpu, ...]:
    """All NVIDIA GPUs of this host; empty where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=index,uuid,name,memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT, check=False)
    if answer.returncode != 0:
        return ()
    return tuple(parse_gpu(line) for line in answer.stdout.splitlines() if line.strip())


def parse_gpu(line: str) -> Gpu:
    """One line of the query above, such as ``0, GPU-1f2e, NVIDIA H200, 3``."""
    index, uuid, name, used = (part.strip() for part in line.split(","))
    return Gpu(index=int(index), uuid=uuid, name=name, memory_used=int(used) if used.isdigit() else 0)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where local workers go: one entry a worker, the GPU that it sees or ``None`` for the CPU."""

    gpus: tuple[str | None, ...]
    threads: int
    """CPU threads for each worker."""
    notes: tuple[str, ...] = ()


def place_workers(
    workers: int | None, wanted: Sequence[int] | None, gpus: Sequence[Gpu], visible: str | None, cores: int
) -> Placement:
    """Divide the host among local workers.

    Args:
        workers: number of workers; default one per usable GPU, or one on the CPU.
        wanted: GPU indices asked for with ``--gpus``; these are used even where others use them too.
        gpus: all GPUs of the host.
        visible: the environment's ``CUDA_VISIBLE_DEVICES``, obeyed where it is set.
        cores: CPU cores to divide.

    Raises:
        DeviceError: ``wanted`` names a GPU that does not exist or is hidden by ``visible``.
    """
    allowed = [gpu for gpu in gpus if _is_visible(gpu, visible)]
    notes: list[str] = []
    if wanted is not None:
        by_index = {gpu.index: gpu for gpu in allowed}
        missing = [index for index in wanted if index not in by_index]
        if missing:
            there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in allowed) or "none"
            raise DeviceError(f"--gpus names GPU {', '.join(map(str, missing))}; usable here: {there}")
        usable = [by_index[index] for index in wanted]
    else:
        usable = [gpu for gpu in allowed if gpu.memory_used < OCCUPIED_MEMORY]
        notes += [
            f"GPU {gpu.index} ({gpu.name}) is skipped: {gpu.memory_used} MiB are in use; "
            f"--gpus {gpu.index} takes it anyway"
            for gpu in allowed
            if gpu not in usable
        ]
    count = workers or max(1, len(usable))
    places = tuple(usable[i % len(usable)].uuid if usable else None for i in range(count))
    return Placement(gpus=places, threads=max(1, cores // count), notes=tuple(notes))


def _is_visible(gpu: Gpu, visible: str | None) -> bool:
    if visible is None:
        return True
    names = [name.strip() for name in visible.split(",")]
    return str(gpu.index) in names or any(name and gpu.uuid.startswith(name) for name in names)


def usable_cores() -> int:
    """CPU cores that this process may run on (containers and ``taskset`` obeyed)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
