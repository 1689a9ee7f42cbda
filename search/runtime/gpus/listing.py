"""The GPUs of this host, as the NVIDIA driver (NVML) lists them; without NVML, as torch does in another process."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

from search.runtime.errors import SearchError
from search.runtime.gpus.torch_devices import NoAnswer, names_by_torch

OCCUPIED_SHARE = 0.2
"""Share of a GPU's memory in use from which it counts as occupied. A desktop uses less, a training more."""
MIB = 2**20  # bytes per MiB

log = logging.getLogger(__name__)


class DeviceError(SearchError):
    """A GPU cannot be used as requested: it does not exist, is hidden, occupied, or nothing for the installed torch."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, or one instance of a GPU that is divided (MIG)."""

    index: int
    """From 0, in PCI bus order, as in ``nvidia-smi``. An instance has the index of its GPU."""
    uuid: str
    """Identifier for ``CUDA_VISIBLE_DEVICES``; without NVML the index."""
    name: str
    """Product name, such as ``NVIDIA H200``."""
    memory_used: int
    """Memory in use by all processes, in MiB."""
    memory_total: int = 0
    """All memory, in MiB; 0: unknown."""

    @property
    def is_instance(self) -> bool:
        """Whether this is an instance of a divided GPU."""
        return self.uuid.startswith("MIG-")

    @property
    def occupied(self) -> bool:
        """Whether so much memory is in use that another program seems to compute."""
        return self.memory_used > OCCUPIED_SHARE * self.memory_total > 0

    @property
    def option(self) -> str:
        """Name of this GPU in ``--gpus``."""
        return self.uuid if self.is_instance else str(self.index)

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"


def list_gpus() -> tuple[Gpu, ...]:
    """All working GPUs of this host; empty without a driver.

    Without NVML, as on ROCm or Jetson, torch lists them in a process of its own. Nothing is known of their memory then,
    and the index stands for the UUID.

    A GPU that does not respond (off the bus, or in need of a reset) is logged and left out; the others keep their
    index. A divided GPU (MIG) is replaced by its instances.

    Raises:
        DeviceError: there is a driver, and it fails, or none of its GPUs can be used.
    """
    try:
        import pynvml  # here and below: most commands need no GPU
    except ImportError:
        log.warning("nvidia-ml-py is not installed: `pip install nvidia-ml-py` finds NVIDIA GPUs and their memory")
        return _without_nvml()
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded) as error:
        log.debug("NVML is not available: %s", error)
        return _without_nvml()
    except pynvml.NVMLError as error:
        raise DeviceError(f"the NVIDIA driver fails: {error} (`nvidia-smi` says more)") from error
    try:
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            raise DeviceError(f"the NVIDIA driver lists no GPUs: {error} (`nvidia-smi` says more)") from error
        found = [gpu for index in range(count) for gpu in _gpus_at(index)]
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    if count and not found:
        raise DeviceError(f"the NVIDIA driver lists {count} GPU{'s' * (count > 1)}, and none can be used")
    return tuple(found)


def _without_nvml() -> tuple[Gpu, ...]:
    """The GPUs that torch lists.

    Raises:
        DeviceError: torch fails or hangs at its start.
    """
    try:
        names = names_by_torch()
    except NoAnswer as problem:
        raise DeviceError(f"there is a driver for GPUs without NVML, and {problem}") from problem
    if names:
        log.warning(
            "without NVML, torch lists the GPUs (%s); memory that other programs hold cannot be seen, so --gpus has to "
            "name the free ones where others compute",
            ", ".join(f"{index}: {name}" for index, name in enumerate(names)),
        )
    return tuple(Gpu(index=index, uuid=str(index), name=name, memory_used=0) for index, name in enumerate(names))


def _gpus_at(index: int) -> list[Gpu]:
    """The GPU at ``index`` in PCI bus order, or its instances; empty if it cannot be used, which is logged."""
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if not _is_divided(handle):
            return [_described(index, handle, pynvml.nvmlDeviceGetName(handle))]
        instances = _instances(index, handle)
    except pynvml.NVMLError as error:
        log.warning("GPU %d does not respond and is left out: %s", index, error)
        return []
    if not instances:
        log.warning("GPU %d is in MIG mode without an instance and is left out (nvidia-smi mig -lgi)", index)
    return instances


def _is_divided(handle: object) -> bool:
    import pynvml

    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False


def _instances(index: int, handle: object) -> list[Gpu]:
    import pynvml

    found, name = [], pynvml.nvmlDeviceGetName(handle)
    for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):  # a place without an instance
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
            found.append(_described(index, instance, f"{name}, MIG instance {place}"))
    return found


def _described(index: int, handle: object, name: str) -> Gpu:
    import pynvml

    used, total = _memory(handle)
    return Gpu(index=index, uuid=pynvml.nvmlDeviceGetUUID(handle), name=name, memory_used=used, memory_total=total)


def _memory(handle: object) -> tuple[int, int]:
    """MiB in use, as in ``nvidia-smi``, and in total; 0 and 0 if the driver does not report it."""
    import pynvml

    try:
        # Version 1 would include the memory that the driver reserves: close to a GiB on an idle data-centre GPU.
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510, whose version 1 excludes it
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
        return 0, 0
    return int(memory.used) // MIB, int(memory.total) // MIB
