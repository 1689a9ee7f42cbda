"""Which devices local workers may use. Asks ``nvidia-smi``, so that the parent process never has to import torch."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
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
    per_gpu: int = 1
    """How many workers share a GPU, at most."""
    hide_gpus: bool = False
    """There are GPUs, but they are not for these workers: whoever is on the CPU must not see them."""
    notes: tuple[str, ...] = ()


def place_workers(
    workers: int | None,
    wanted: Sequence[int] | None,
    gpus: Sequence[Gpu],
    visible: str | None,
    cores: int,
    per_gpu: int = 1,
) -> Placement:
    """Divide the host among local workers.

    Args:
        workers: number of workers, dealt out to the usable GPUs in turn; 0: none. Default: ``per_gpu`` for each usable
            GPU, or one on the CPU.
        wanted: GPU indices asked for with ``--gpus``; these are used even where others use them too.
        gpus: all GPUs of the host.
        visible: the environment's ``CUDA_VISIBLE_DEVICES``, obeyed where it is set.
        cores: CPU cores to divide.
        per_gpu: workers that share a GPU, where ``workers`` does not say otherwise.

    Raises:
        DeviceError: ``wanted`` names a GPU that does not exist or is hidden by ``visible``; several workers a GPU are
            asked for, and there is no GPU.
    """
    allowed = _visible(gpus, visible)
    notes: list[str] = []
    if wanted is not None:
        usable = _chosen(wanted, allowed)
    else:
        usable = [gpu for gpu in allowed if gpu.memory_used < OCCUPIED_MEMORY]
        notes += [
            f"GPU {gpu.index} ({gpu.name}) is skipped: {gpu.memory_used} MiB are in use; "
            f"--gpus {gpu.index} takes it anyway"
            for gpu in allowed
            if gpu not in usable
        ]
    if per_gpu > 1 and not usable and workers != 0:
        reason = "; ".join(notes) or "there is none that may be used here"
        raise DeviceError(f"--workers-per-gpu {per_gpu} needs a GPU: {reason}. Without one, --workers says how many")
    count = workers if workers is not None else max(1, per_gpu * len(usable))
    places = tuple(usable[i % len(usable)].uuid if usable else None for i in range(count))
    return Placement(
        gpus=places,
        threads=max(1, cores // max(1, count)),
        per_gpu=max(Counter(places).values(), default=1) if usable else 1,
        hide_gpus=bool(gpus) and not usable,
        notes=tuple(notes),
    )


def _chosen(wanted: Sequence[int], allowed: Sequence[Gpu]) -> list[Gpu]:
    by_index = {gpu.index: gpu for gpu in allowed}
    missing = [index for index in wanted if index not in by_index]
    if missing:
        there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in allowed) or "none"
        raise DeviceError(f"--gpus names GPU {', '.join(map(str, missing))}; usable here: {there}")
    return [by_index[index] for index in wanted]


def _visible(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """What CUDA would show: in the order of ``CUDA_VISIBLE_DEVICES``, up to the first name that is nobody's."""
    if visible is None:
        return list(gpus)
    shown: list[Gpu] = []
    for place, name in enumerate(part.strip() for part in visible.split(",")):
        gpu = _named(name, gpus, place)
        if gpu is None:
            break
        if gpu not in shown:
            shown.append(gpu)
    return shown


def _named(name: str, gpus: Sequence[Gpu], place: int) -> Gpu | None:
    if gpus and name.startswith("MIG-"):
        # A slice of a GPU, which the list does not show: it goes by its name and by its place among the visible.
        return Gpu(index=place, uuid=name, name="MIG slice", memory_used=0)
    matches = (gpu for gpu in gpus if name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)))
    return next(matches, None)
