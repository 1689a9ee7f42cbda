"""The process of a worker: connects to the database, sets up device and loader, then runs `search.worker.loop`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.runtime.disk import CACHE_QUOTA, QUOTA
from search.runtime.gpus.seat import check_cuda, claimed_gpu, cores_here
from search.runtime.heartbeat import Heartbeat
from search.runtime.home import Home
from search.runtime.process_names import process_name
from search.runtime.signals import GRACE, StopSignals
from search.runtime.worker_environment import PARENT_VARIABLE, SHARE_VARIABLE
from search.tracking.options import TrackingOptions
from search.tracking.trackers import Trackers
from search.worker.lease import LEASE
from search.worker.limits.deadline_guard import device_name
from search.worker.loop import work
from search.worker.study_cache import StudyCache, WorkerResources
from storage.database.outages import OUTAGE_TIMEOUT, retry
from storage.stores import Stores, open_stores
from trainer.common.environment import check_torch_pair, thread_limit, usable_cores
from trainer.inference.resources import available_memory

if TYPE_CHECKING:
    import torch

    from trainer.batches.batch_loader import BatchLoader

START_TIMEOUT = 300.0  # seconds that a worker waits at its start for a database that does not answer


@dataclass(frozen=True, kw_only=True)
class WorkerRequest:
    """The options of ``search worker``."""

    storage_url: str
    study: str | None
    """Name of the only study to serve; None: every running study of the database."""
    folders: Sequence[Path]
    """Folders of images; a study is served from the one with its images."""
    home: Path
    """Home folder, see `search.runtime.home`."""
    weights: Path | None = None
    """Folder of pre-trained weights; None: of each study the one that it remembers."""
    stay: bool = False
    """Wait for further work instead of ending."""
    grace: float = GRACE
    """Seconds, see `search.runtime.signals.GRACE`."""
    quota: float = QUOTA
    """GiB for checkpoints, see `search.runtime.disk.QUOTA`."""
    cache_quota: float = CACHE_QUOTA
    """GiB for decoded images and features, see `search.runtime.disk.CACHE_QUOTA`."""
    lease: float = LEASE
    """Seconds, see `search.worker.lease.LEASE`."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions.of_environment)
    """What else records the trainings."""


def run_worker(request: WorkerRequest) -> None:
    """Run work items until none is left or a stop is requested. A stop releases the current item.

    Raises:
        StorageError, DataMismatch, DataError, NoData, NoWeights, AgainstTheRules, LearnedLabels, BackboneError,
            StudyError: the worker cannot start. It has taken no item.
        DeviceError: other programs occupy all GPUs of this host, or its driver fails. It has taken no item.
        WorkerLeaves: the worker cannot continue on this host: torch cannot use its GPU, or its item failed as the next
            one would. Its item is released or has failed.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    signals = StopSignals(parent=int(parent) if parent else None, grace=request.grace).install()
    stores = retry(partial(open_stores, request.storage_url, outage_timeout=OUTAGE_TIMEOUT), START_TIMEOUT)
    only = None if request.study is None else stores.study(request.study)
    check_torch_pair(thorough=True)
    name, home = process_name(), Home(root=request.home)
    trackers = Trackers.of(request.tracking, stores)
    with trackers, _open_resources(request, stores, home, name, trackers) as resources:
        study_cache = StudyCache(resources)
        if only is not None:
            study_cache.context(only)  # raises now if the study's images are missing
        device = str(resources.device)
        with Heartbeat(stores.workers, name, device=device, home=home.identity()) as heartbeat:
            work(
                stores,
                study_cache.context,
                signals,
                only=only,
                home=home,
                # A worker with a parent process stays until that process ends it.
                linger=request.stay or parent is not None,
                quota=request.quota,
                cache_quota=request.cache_quota,
                on_study=heartbeat.set_study,
                device=device_name(resources.device),
            )


@contextmanager
def _open_resources(
    request: WorkerRequest, stores: Stores, home: Home, name: str, trackers: Trackers
) -> Iterator[WorkerResources]:
    """Claim a GPU, set up torch's device, threads and memory limit, and start the batch loader."""
    with claimed_gpu(home) as host_gpus, _open_loader(host_gpus) as (device, loader, cores):
        yield WorkerResources(
            worker=name,
            stores=stores,
            home=home,
            folders=tuple(request.folders),
            device=device,
            loader=loader,
            trackers=trackers,
            cores=cores,
            weights_dir=request.weights,
            lease=request.lease,
        )


@contextmanager
def _open_loader(host_gpus: int) -> Iterator[tuple[torch.device, BatchLoader, int]]:
    """The device of this worker, its batch loader, and its CPU cores.

    Args:
        host_gpus: number of GPUs of this host.

    Raises:
        WorkerLeaves: torch cannot use the worker's GPU.
    """
    import torch

    from trainer.batches.batch_loader import BatchLoader, fitting_workers
    from trainer.training.folds.memory.device_memory import limit_memory

    check_cuda()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = thread_limit()
    if threads is not None:
        torch.set_num_threads(threads)
    share = os.environ.get(SHARE_VARIABLE)
    if share and device.type == "cuda":
        limit_memory(float(share))
    # Beside a GPU the cores count, not OMP_NUM_THREADS: many clusters set it to 1, and mean threads of the training.
    cores = cores_here(host_gpus) if device.type == "cuda" else threads or usable_cores()
    available = available_memory()
    memory = None if available is None else available * cores // usable_cores()
    with BatchLoader(fitting_workers(device.type, cores, memory)) as loader:
        yield device, loader, cores
