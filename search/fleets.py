"""Engines by name: who starts the workers of a study, and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from search.devices import Placement, list_gpus, place_workers, usable_cores
from search.engines.fleet import Fleet, WorkerCommand
from search.engines.local import LocalFleet
from search.requests import Workers


def place(workers: Workers) -> Placement:
    """Divide this host among local workers.

    Raises:
        DeviceError: a GPU was asked for that is not there.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return place_workers(workers.workers, workers.gpus, list_gpus(), visible, usable_cores(), workers.per_gpu)


def _local(command: WorkerCommand, workers: Workers, logs: Path) -> Fleet:
    return LocalFleet(command, place(workers), logs)


def _ray(command: WorkerCommand, workers: Workers, logs: Path) -> Fleet:
    from search.engines.ray import RayFleet

    cluster = workers.ray
    return RayFleet(
        command,
        workers.workers or 1,
        logs,
        address=cluster.address,
        gpus_per_worker=cluster.gpus_per_worker,
        cpus_per_worker=cluster.cpus_per_worker,
        ship_data=cluster.ship_data,
    )


ENGINES: dict[str, Callable[[WorkerCommand, Workers, Path], Fleet]] = {"local": _local, "ray": _ray}
"""Makes the fleet of an engine; nothing is started before it is entered."""


def describe(workers: Workers) -> tuple[str, tuple[str, ...]]:
    """Where the workers will be, for people, and what they should know about it.

    Raises:
        DeviceError: as `place`.
        EngineError: the engine is not installed.
    """
    if workers.workers == 0:
        return "no workers of its own", ()
    if workers.engine != "local":
        import search.engines.ray  # noqa: F401 - a missing package is told before anything is begun

        count = workers.workers or 1
        return f"{count} worker{'s' * (count > 1)} on {workers.engine}", ()
    placement = place(workers)
    count, gpus = len(placement.gpus), {gpu for gpu in placement.gpus if gpu is not None}
    where = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}" if gpus else "the CPU"
    return f"{count} worker{'s' * (count > 1)} on {where}", placement.notes
