"""How busy a training keeps its GPU and its CPU cores: what decides whether the GPU has room for another worker.

NVML's utilisation is the share of time in which any kernel ran. A kernel that fills a small part of the GPU counts
fully, so the room is at least what the share leaves.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

INTERVAL = 1.0
"""Seconds between two samples. NVML itself averages over a sixth of a second to a second."""
LEAST_SAMPLES = 10
"""Samples below which a share says too little to be recorded."""
MIB = 2**20

BUSY, WORKERS, RESERVED, TOTAL, CORES, CORES_BUSY = (
    *("gpu_busy", "gpu_workers", "memory_reserved", "memory_total"),
    *("gpu_cores", "cores_busy"),
)
"""Entries in the machine of a trial: share of the time in which the GPU computed (0 .. 1), for all of its programs;
workers per GPU; MiB of the GPU that the training had reserved at its peak, and all; CPU cores of all workers of the
GPU, and how many of them this worker kept busy on average."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GpuShare:
    """How this worker's GPU is divided."""

    workers: int
    """Workers on the GPU."""
    cores: int
    """CPU cores of all of them."""


class UsageMeter:
    """Measures one training between the ends of its first and its last epoch in this process.

    The first epoch starts processes and searches for algorithms, so it does not count. A context manager, which ends
    the sampling. Where NVML is missing or fails, nothing is measured; no method raises.

    Args:
        device: of the training; only a GPU is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._handle: object = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._samples: list[float] = []
        self._counted = 0  # samples before the end of the latest epoch
        self._marks: list[tuple[float, float]] = []  # time and CPU seconds, at the ends of the first and latest epoch

    def __enter__(self) -> UsageMeter:
        self._handle = _nvml_handle(self._device) if self._device.type == "cuda" else None
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._handle is not None:
            import pynvml

            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def mark(self) -> None:
        """Note the end of an epoch; at the first one the sampling begins."""
        cpu = None if self._handle is None else cpu_seconds()
        if cpu is None:
            return
        self._marks = [*self._marks[:1], (time.monotonic(), cpu)]
        self._counted = len(self._samples)
        if self._thread is None:
            self._thread = threading.Thread(target=self._sample, name="gpu-usage", daemon=True)
            self._thread.start()

    def _sample(self) -> None:
        import pynvml

        while not self._ended.wait(INTERVAL):
            try:
                self._samples.append(pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100)
            except pynvml.NVMLError as error:  # not of an instance of a divided GPU
                log.debug("NVML reports no utilisation: %s", error)
                return

    def found(self, share: Callable[[], GpuShare]) -> Mapping[str, float | int]:
        """The entries for the machine of the trial; empty if too little was measured.

        Args:
            share: returns how the GPU is divided; called where something was measured.
        """
        if self._counted < LEAST_SAMPLES or len(self._marks) < 2:
            return {}
        import torch

        division = share()
        (begun, cpu_before), (ended, cpu_after) = self._marks
        return {
            BUSY: round(sum(self._samples[: self._counted]) / self._counted, 3),
            WORKERS: division.workers,
            RESERVED: -(-torch.cuda.max_memory_reserved(self._device) // MIB),
            TOTAL: torch.cuda.get_device_properties(self._device).total_memory // MIB,
            CORES: division.cores,
            CORES_BUSY: round(max(0.0, cpu_after - cpu_before) / max(ended - begun, 1e-3), 2),
        }


def cpu_seconds() -> float | None:
    """CPU time so far of this process and of its child processes that live; None: unknown on this system."""
    ticks = 0
    for process in multiprocessing.active_children():
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            if not Path("/proc/self/stat").exists():
                return None
            continue  # it has ended
        user, system = stat.rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return time.process_time() + (ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0)


def _nvml_handle(device: torch.device) -> object:
    """NVML's handle of a GPU of torch, with NVML initialised; None: NVML does not know it, or is not there."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # not in older torch
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("NVML is not available: %s", error)
        return None
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{str(uuid).removeprefix('GPU-')}")
    except pynvml.NVMLError as error:
        log.debug("NVML does not know GPU %s: %s", uuid, error)
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
        return None
