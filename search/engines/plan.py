"""Engines by name: who starts the workers of a study, and where."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.engines.interface import Fleet, WorkerCommand
from search.engines.local import LocalFleet
from search.runtime.devices import list_gpus, place_workers
from search.runtime.signals import GRACE
from trainer.common.environment import usable_cores


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """Where the workers will be. Nothing is started, and everything that can be refused has been."""

    where: str
    """For people."""
    notes: tuple[str, ...] = ()
    """What they should know about it."""
    make: Callable[[WorkerCommand, Path], Fleet] | None
    """The fleet that was planned, its logs in this folder; None: no workers are to be started."""


def plan_fleet(workers: Workers) -> FleetPlan:
    """Decide where the workers go that were asked for.

    Raises:
        DeviceError: a GPU was asked for that is not there.
        EngineError: the engine is not installed.
    """
    if workers.workers == 0:
        return FleetPlan(where="no workers of its own", make=None)
    return ENGINES[workers.engine](workers)


def _local(workers: Workers) -> FleetPlan:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    placement = place_workers(workers.workers, workers.gpus, list_gpus(), visible, usable_cores(), workers.per_gpu)
    # A person who set this has a reason: others compute here, too, and threads that wait for each other suffer most.
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdecimal() and int(wanted) > 0:
        placement = replace(placement, threads=min(placement.threads, int(wanted)))
    gpus = len({gpu for gpu in placement.gpus if gpu is not None})
    return FleetPlan(
        where=_counted(len(placement.gpus), f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "the CPU"),
        notes=placement.notes,
        make=lambda command, logs: LocalFleet(command, placement, logs),
    )


def _ray(workers: Workers) -> FleetPlan:
    from search.engines.ray import RayFleet

    count, cluster = workers.workers or 1, workers.ray
    return FleetPlan(
        where=_counted(count, "Ray"),
        make=lambda command, logs: RayFleet(
            command,
            count,
            logs,
            address=cluster.address,
            gpus_per_worker=cluster.gpus_per_worker,
            cpus_per_worker=cluster.cpus_per_worker,
            ship_data=cluster.ship_data,
        ),
    )


def _counted(count: int, where: str) -> str:
    return f"{count} worker{'s' * (count > 1)} on {where}"


ENGINES: dict[str, Callable[[Workers], FleetPlan]] = {"local": _local, "ray": _ray}


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Where and how the Ray engine places workers."""

    address: str | None = None
    """As ``ray.init`` takes it; None: the cluster of this machine, or one of this machine alone."""
    gpus_per_worker: float | None = None
    """A part of one, or a whole number; None: one where the cluster has GPUs."""
    cpus_per_worker: float = 1.0
    ship_data: bool = False
    """Send the images also where a folder of that name exists."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Which workers are to be started, and what they are told."""

    home: Path
    engine: str = "local"
    """Name in `search.engines.plan.ENGINES`."""
    workers: int | None = None
    """How many; None: one per free GPU, or one on the CPU. 0: none, others do the work."""
    gpus: Sequence[int] | None = None
    per_gpu: int = 1
    weights: Path | None = None
    """Folder of pre-trained weights."""
    grace: float = GRACE
    """Seconds, see `search.runtime.signals`."""
    quota: float | None = None
    """GiB for checkpoints, see `search.runtime.disk`; None: the usual."""
    ray: RayCluster = RayCluster()

    @property
    def options(self) -> tuple[str, ...]:
        """What every worker is told besides study, database, images and home, as arguments of `search worker`."""
        quota = () if self.quota is None else ("--checkpoint-quota", f"{self.quota:g}")
        return ("--grace", f"{self.grace:g}", *quota)
