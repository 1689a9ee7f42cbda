"""Which devices local workers may use. Asks the NVIDIA driver (NVML), so that no command has to import torch."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.runtime.errors import SearchError

OCCUPIED_MEMORY = 1024  # MiB in use from which a GPU counts as occupied; an idle desktop uses less
MIB = 2**20  # bytes

log = logging.getLogger(__name__)


class DeviceError(SearchError):
    """A requested GPU does not exist or may not be used."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU."""

    index: int
    """From 0 in the order of the PCI bus, as ``nvidia-smi`` counts."""
    uuid: str
    """The name by which ``CUDA_VISIBLE_DEVICES`` may list it."""
    name: str
    """The product: ``NVIDIA H200``."""
    memory_used: int
    """MiB in use by all processes."""


def list_gpus() -> tuple[Gpu, ...]:
    """All NVIDIA GPUs of this host that answer; empty where there is no NVIDIA driver.

    A GPU that is lost (off the bus, or in need of a reset) is logged and left out; the others keep their index.
    """
    try:
        import pynvml  # here and below: most commands ask for no GPU
    except ImportError:
        log.warning("nvidia-ml-py is not installed: no GPU is found")
        return ()
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        log.debug("no GPU is found: %s", error)
        return ()
    try:
        found = [_gpu(index) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()
    return tuple(gpu for gpu in found if gpu is not None)


def _gpu(index: int) -> Gpu | None:
    """The GPU at ``index``, in the order of the PCI bus; None where it does not answer."""
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
        log.warning("GPU %d does not answer and is left out: %s", index, error)
        return None


def _memory_used(handle: object) -> int:
    """MiB in use, as ``nvidia-smi`` counts them; 0 where the GPU does not say."""
    import pynvml

    try:
        # The first version counts what the driver reserves, too: close to a GiB on an idle data-centre GPU.
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError_FunctionNotFound:  # a driver before 510, whose first version left it out
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
        return 0
    return int(memory.used) // MIB


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The devices of local workers: for each worker the GPU that it sees, or ``None`` for the CPU."""

    gpus: tuple[str | None, ...]
    threads: int
    """CPU threads for each worker."""
    per_gpu: int = 1
    """Maximum number of workers on one GPU."""
    hide_gpus: bool = False
    """Whether GPUs exist that these workers may not use; workers on the CPU must then not see them."""
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
        workers: number of workers, assigned to the usable GPUs in turn; 0: none. Default: ``per_gpu`` for each usable
            GPU, or one on the CPU.
        wanted: GPU indices of ``--gpus``; these are used even if other processes occupy them.
        gpus: all GPUs of the host.
        visible: the environment's ``CUDA_VISIBLE_DEVICES``, obeyed unless None.
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
    """The GPUs that CUDA shows: in the order of ``CUDA_VISIBLE_DEVICES``, up to the first name without a GPU."""
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
        # A slice of a GPU, which `list_gpus` does not list: its index is its place in CUDA_VISIBLE_DEVICES.
        return Gpu(index=place, uuid=name, name="MIG slice", memory_used=0)
    matches = (gpu for gpu in gpus if name == str(gpu.index) or (name.startswith("GPU-") and gpu.uuid.startswith(name)))
    return next(matches, None)
