"""Plans the workers of a study: the engine by name, and everything that can be rejected before a worker starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from search.engines.interface import Fleet, WorkerCommand
from search.engines.local import LocalFleet
from search.runtime.gpus.listing import DeviceError, list_gpus
from search.runtime.gpus.placement import CPU_OPTION, Placement, hides_all, place_workers
from search.runtime.gpus.torch_check import unusable_gpus
from search.runtime.signals import GRACE
from search.tracking.options import TrackingOptions
from trainer.common.environment import thread_limit, usable_cores


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Settings of the Ray engine."""

    address: str | None = None
    """Address for ``ray.init``; None: the cluster that runs on this machine, or a new one of this machine alone."""
    gpus_per_worker: float | None = None
    """A whole number, or a fraction below 1; None: 1 if the cluster has GPUs, else 0."""
    cpus_per_worker: float | None = None
    """Above 0; also the number of threads of each worker, rounded down to 1 at least. None: see `RayFleet`."""
    ship_data: bool = False
    """Send the images even to machines that have a folder of the same name."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """A request for workers, with the options that they are started with."""

    home: Path
    """Home folder, see `search.runtime.home`."""
    engine: str = "local"
    """A key of `ENGINES`."""
    workers: int | None = None
    """Number of workers; None: one per free GPU, or one on the CPU. 0: none, other workers serve the study."""
    gpus: Sequence[int | str] | None = None
    """Indices or UUIDs of the GPUs of local workers; empty: the CPU. None: all free GPUs."""
    per_gpu: int = 1
    """Local workers that share each GPU."""
    weights: Path | None = None
    """Folder of pre-trained weights; None: the one that the study remembers."""
    grace: float = GRACE
    """Seconds, see `search.runtime.signals.GRACE`."""
    quota: float | None = None
    """GiB for checkpoints; None: `search.runtime.disk.QUOTA`."""
    cache_quota: float | None = None
    """GiB for decoded images and features; None: `search.runtime.disk.CACHE_QUOTA`."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions.of_environment)
    """What else records the trainings."""
    ray: RayCluster = RayCluster()

    @property
    def options(self) -> tuple[str, ...]:
        """Arguments of `search worker` beyond study, data, home and weights."""
        quotas = {"--checkpoint-quota": self.quota, "--cache-quota": self.cache_quota}
        given = [word for name, quota in quotas.items() if quota is not None for word in (name, f"{quota:g}")]
        return ("--grace", f"{self.grace:g}", *given)


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """A fleet that was checked and not started yet."""

    where: str
    """Description for the user, such as ``2 workers on 2 GPUs``."""
    notes: tuple[str, ...] = ()
    """Messages for the user about the placement."""
    make: Callable[[WorkerCommand, Path], Fleet] | None
    """Creates the fleet from its command and the folder of its logs; None: no workers are wanted."""


def plan_fleet(workers: Workers) -> FleetPlan:
    """Plan the requested workers.

    Raises:
        DeviceError: a requested GPU does not exist, may not be used or is none for torch; or there are GPUs, none of
            them is free and usable, and the CPU was not asked for.
        EngineError: the engine is not installed.
    """
    if workers.workers == 0:
        return FleetPlan(where="no workers of its own", make=None)
    return ENGINES[workers.engine](workers)


def _plan_local(workers: Workers) -> FleetPlan:
    placement = _place(workers, os.environ.get("CUDA_VISIBLE_DEVICES"))
    # An upper limit set by the user, for instance on a host with other jobs.
    limit = thread_limit()
    if limit is not None:
        placement = replace(placement, threads=min(placement.threads, limit))
    gpus = len({gpu for gpu in placement.gpus if gpu is not None})
    return FleetPlan(
        where=_counted(len(placement.gpus), f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "the CPU"),
        notes=placement.notes,
        make=lambda command, logs: LocalFleet(command, placement, logs),
    )


def _place(workers: Workers, visible: str | None) -> Placement:
    wanted, cores, per_gpu = workers.gpus, usable_cores(), workers.per_gpu
    if hides_all(visible) or (wanted is not None and not wanted):
        placement = place_workers(workers.workers, wanted, (), visible, cores, per_gpu)
        return replace(placement, hide_gpus=True)
    try:
        gpus = list_gpus()
    except DeviceError as problem:
        raise DeviceError(f"{problem}. {CPU_OPTION}") from problem
    return place_workers(workers.workers, wanted, gpus, visible, cores, per_gpu, faults=unusable_gpus)


def _plan_ray(workers: Workers) -> FleetPlan:
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


ENGINES: dict[str, Callable[[Workers], FleetPlan]] = {"local": _plan_local, "ray": _plan_ray}
"""Engines by name. `search.cli.early_checks.ENGINES` lists the same names without these imports."""
