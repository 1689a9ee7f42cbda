"""GPUs of this host, and their assignment to local workers. Queries the NVIDIA driver (NVML), without torch."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OCCUPIED_MEMORY = 1024  # MiB in use from which a GPU counts as occupied; an idle desktop uses less
MIB = 2**20  # bytes per MiB

log = logging.getLogger(__name__)


class DeviceError(RuntimeError):
    """A requested GPU does not exist or is hidden from this process."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU."""

    index: int
    """From 0, in PCI bus order, as in ``nvidia-smi``."""
    uuid: str
    """Identifier for ``CUDA_VISIBLE_DEVICES``."""
    name: str
    """Product name, such as ``NVIDIA H200``."""
    memory_used: int
    """Memory in use by all processes, in MiB."""


def list_gpus() -> tuple[Gpu, ...]:
    """All working NVIDIA GPUs of this host; empty without an NVIDIA driver or without nvidia-ml-py.

    A GPU that does not respond (off the bus, or in need of a reset) is logged and left out; the others keep their
    index.
    """
    try:
        import pynvml  # here and below: most commands need no GPU
    except ImportError:
        log.warning("nvidia-ml-py is not installed: no GPU can be found")
        return ()
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        log.debug("NVML is not available: %s", error)
        return ()
    try:
        found = [_gpu(index) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()
    return tuple(gpu for gpu in found if gpu is not None)


def _gpu(index: int) -> Gpu | None:
    """The GPU at ``index`` in PCI bus order; None if it does not respond."""
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return Gpu(
            index=index,
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            name=pynvml.nvmlDeviceGetName(handle),
            memory_used=_memory_used(handle),
        )
    except pynvml.NVMLError as error:
        log.warning("GPU %d does not respond and is left out: %s", index, error)
        return None


def _memory_used(handle: object) -> int:
    """MiB in use, as in ``nvidia-smi``; 0 if the driver does not report it."""
    import pynvml

    try:
        # Version 1 would include the memory that the driver reserves: close to a GiB on an idle data-centre GPU.
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510, whose version 1 excludes it
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
        return 0
    return int(memory.used) // MIB


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Devices assigned to local workers."""

    gpus: tuple[str | None, ...]
    """For each worker the UUID of its GPU; None: the CPU."""
    threads: int
    """CPU threads of each worker."""
    per_gpu: int = 1
    """Maximum number of workers on one GPU."""
    hide_gpus: bool = False
    """Whether the workers run on the CPU although GPUs exist, which must then be hidden from them."""
    notes: tuple[str, ...] = ()
    """Messages for the user: GPUs that are skipped, and why."""


def place_workers(
    workers: int | None,
    wanted: Sequence[int] | None,
    gpus: Sequence[Gpu],
    visible: str | None,
    cores: int,
    per_gpu: int = 1,
) -> Placement:
    """Divide the GPUs and CPU cores of the host among local workers.

    Args:
        workers: number of workers, assigned to the usable GPUs in turn; 0: none. None: ``per_gpu`` for each usable GPU,
            or one on the CPU.
        wanted: GPU indices of ``--gpus``, used even if other processes occupy them; None: all GPUs that are free.
        gpus: all GPUs of the host.
        visible: value of ``CUDA_VISIBLE_DEVICES``; None: unset, all GPUs are visible.
        cores: CPU cores to divide.
        per_gpu: workers per GPU, unless ``workers`` is given.

    Raises:
        DeviceError: ``wanted`` names a GPU that does not exist or is hidden by ``visible``; or ``per_gpu`` is above 1
            without a usable GPU.
    """
    allowed = _visible(gpus, visible)
    notes: list[str] = []
    if wanted is not None:
        usable = _chosen(wanted, allowed)
    else:
        usable = [gpu for gpu in allowed if gpu.memory_used < OCCUPIED_MEMORY]
        notes += [
            f"GPU {gpu.index} ({gpu.name}) is skipped: {gpu.memory_used} MiB are in use; "
            f"--gpus {gpu.index} uses it anyway"
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
    """The GPUs with the indices ``wanted``.

    Raises:
        DeviceError: an index is not among ``allowed``.
    """
    by_index = {gpu.index: gpu for gpu in allowed}
    missing = [index for index in wanted if index not in by_index]
    if missing:
        usable = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in allowed) or "none"
        raise DeviceError(f"--gpus names GPU {', '.join(map(str, missing))}; usable here: {usable}")
    return [by_index[index] for index in wanted]


def _visible(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs visible to CUDA: in the order of ``CUDA_VISIBLE_DEVICES``, up to its first name without a GPU."""
    if visible is None:
        return list(gpus)
    seen: list[Gpu] = []
    for place, name in enumerate(part.strip() for part in visible.split(",")):
        gpu = _named(name, gpus, place)
        if gpu is None:
            break
        if gpu not in seen:
            seen.append(gpu)
    return seen


def _named(name: str, gpus: Sequence[Gpu], place: int) -> Gpu | None:
    """The GPU with this index, UUID or beginning of a UUID; None if there is none."""
    if gpus and name.startswith("MIG-"):
        # A slice of a GPU, unknown to `list_gpus`: its index is its place in CUDA_VISIBLE_DEVICES.
        return Gpu(index=place, uuid=name, name="MIG slice", memory_used=0)
    matches = (gpu for gpu in gpus if name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)))
    return next(matches, None)
