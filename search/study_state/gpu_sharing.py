"""Whether another worker on each GPU would fit and pay, by what the trials of a study have measured. Pure functions.

This is advice. Retable starts no further worker by itself: a later trial may need more memory than those so far, and a
worker with a smaller share of the memory trains large batches in parts, which changes their results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.runtime.gpus.usage import BUSY, CORES, CORES_BUSY, RESERVED, TOTAL, WORKERS
from storage.values import TrialRecord

USABLE = 0.9
"""Share of a GPU's memory that its workers may have together."""
OWN_MEMORY = 600
"""MiB that CUDA and its libraries take for each process, beside what torch reserves."""
LEAST_CORES = 2.0
"""CPU cores of a worker: one for the training, one to augment images."""
LARGEST = 2**40
"""Larger entries of a stored document were not measured, and a float may not hold them."""
LEAST_GAIN = 0.25
"""Relative gain in speed from which one more worker pays. What processes lose by taking turns is not in the
estimate."""


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """What trials have measured on one model of GPU."""

    workers: int
    """Workers on the GPU, 1 or more."""
    busy: float
    """Share of the time in which the GPU computed for all of them, 0 .. 1."""
    memory: float
    """Most MiB that one of them had reserved."""
    memory_total: float
    """MiB of the GPU."""
    cores: float
    """CPU cores of all of them."""
    cores_busy: float
    """CPU cores that one of them kept busy."""

    def fits(self, workers: int) -> bool:
        """Whether the memory of the GPU suffices for so many workers."""
        return workers * (self.memory + OWN_MEMORY) <= USABLE * self.memory_total

    def feeds(self, workers: int) -> bool:
        """Whether the CPU cores suffice for so many workers."""
        return workers * max(LEAST_CORES, self.cores_busy) <= self.cores

    def speed(self, workers: int) -> float:
        """Trainings of ``workers`` together, relative to one of the present ones: until the GPU is busy all the time,
        each adds its own.
        """
        return min(float(workers), self.workers / self.busy) if self.busy > 0.0 else float(workers)

    def pays(self, workers: int) -> bool:
        """Whether the last of so many workers makes all of them faster by `LEAST_GAIN`."""
        return self.speed(workers) >= (1.0 + LEAST_GAIN) * self.speed(workers - 1)


def advise_workers_per_gpu(use: GpuUse) -> int:
    """The number of workers per GPU up to which each further one fits its memory and CPU cores and pays.

    It is never below the present one.
    """
    workers = use.workers
    while use.fits(workers + 1) and use.feeds(workers + 1) and use.pays(workers + 1):
        workers += 1
    return workers


def uses_of(records: Sequence[TrialRecord]) -> dict[str, GpuUse]:
    """What the trials have measured, by the name of the GPU.

    Of each GPU only trials with its latest number of workers count: the largest of their needs, and the mean of how
    busy they kept the GPU.
    """
    measured: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if _is_measured(record.machine):
            measured.setdefault(str(record.machine.get("device")), []).append(record.machine)
    return {name: _use(machines) for name, machines in measured.items()}


def is_first_measured(records: Sequence[TrialRecord], machine: Mapping[str, Any]) -> bool:
    """Whether exactly one trial, that of ``machine``, has been measured on its model of GPU."""
    same = [r for r in records if _is_measured(r.machine) and r.machine.get("device") == machine.get("device")]
    return _is_measured(machine) and len(same) == 1


def _is_measured(machine: Mapping[str, Any]) -> bool:
    """Whether a stored document has all the entries, and values that are possible."""
    values: list[Any] = [machine.get(name) for name in (BUSY, WORKERS, RESERVED, TOTAL, CORES, CORES_BUSY)]
    if not all(type(value) in (int, float) and 0 <= value <= LARGEST for value in values):
        return False
    return bool(machine[BUSY] <= 1.0 and type(machine[WORKERS]) is int and machine[WORKERS] >= 1)


def _use(machines: Sequence[dict[str, Any]]) -> GpuUse:
    latest = machines[-1]
    same = [machine for machine in machines if machine[WORKERS] == latest[WORKERS]]
    return GpuUse(
        workers=latest[WORKERS],
        busy=sum(machine[BUSY] for machine in same) / len(same),
        memory=max(machine[RESERVED] for machine in same),
        memory_total=min(machine[TOTAL] for machine in same),
        cores=min(machine[CORES] for machine in same),
        cores_busy=max(machine[CORES_BUSY] for machine in same),
    )


def sharing_lines(study: str, records: Sequence[TrialRecord]) -> list[str]:
    """For each measured GPU of a study a sentence about another worker; empty where nothing was measured."""
    return [f"{name}: {_sentence(study, use)}" for name, use in uses_of(records).items()]


def _sentence(study: str, use: GpuUse) -> str:
    advised = advise_workers_per_gpu(use)
    present = f"{use.workers} worker{'s' * (use.workers > 1)} per GPU keep{'s' * (use.workers == 1)} it"
    found = f"{present} busy {use.busy:.0%} of the time"
    if advised > use.workers:
        gain = use.speed(advised) / use.workers
        return (
            f"{found}. `search start --study {study} --workers-per-gpu {advised}` (on Ray: --gpus-per-worker "
            f"{1 / advised:.2g}) would train up to {gain:.1f} times as fast, and fits its memory and CPU cores"
        )
    more = use.workers + 1
    if not use.pays(more):
        return f"{found}; another one would hardly pay"
    if not use.fits(more):
        return (
            f"{found}; another one would not fit: each reserves {use.memory / 1024:.1f} of its "
            f"{use.memory_total / 1024:.1f} GiB"
        )
    return f"{found}; another one would lack CPU cores: each keeps {use.cores_busy:.1f} of {use.cores:g} busy"
