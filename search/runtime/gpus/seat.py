"""What a worker process takes of its host: a GPU, which it claims, and CPU cores."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from search.runtime.errors import EXIT_DEVICE, EXIT_MISTAKE
from search.runtime.failures import WorkerLeaves
from search.runtime.gpus.listing import DeviceError, Gpu, list_gpus
from search.runtime.gpus.placement import hides_all, visible_gpus
from search.runtime.gpus.torch_report import no_architecture, no_cuda
from search.runtime.gpus.usage import GpuShare
from search.runtime.home import Home
from search.runtime.worker_environment import CORES_VARIABLE, DEVICE_VARIABLE, PARENT_VARIABLE, SHARE_VARIABLE
from trainer.common.environment import usable_cores

CPU_VARIABLE = "CUDA_VISIBLE_DEVICES= in front of the command trains on the CPU"
MOST_CLAIMS = 64  # locks of one GPU; a further worker shares the GPU without a claim

log = logging.getLogger(__name__)

_TEMPORARY = ("initialization error", "unknown error", "busy or unavailable")


@contextmanager
def claimed_gpu(home: Home) -> Iterator[int]:
    """Claim a GPU for this process until the context ends. Enter it before CUDA starts.

    A worker that an engine started has its GPU. One that was started by hand takes the visible GPU with the fewest
    workers of this home; without ``CUDA_VISIBLE_DEVICES``, only GPUs count that no other program occupies. From then
    on CUDA sees this GPU alone.

    Yields:
        Number of GPUs of this host; 0: none, or none that may be used here.

    Raises:
        DeviceError: no GPU is named, and the driver fails or other programs occupy all GPUs.
        HomeNotWritable: the claim cannot be written.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hides_all(visible):
        yield 0
        return
    try:
        gpus = list_gpus()
    except DeviceError as problem:
        if visible is None:
            raise DeviceError(f"{problem}. {CPU_VARIABLE}") from problem
        log.warning("%s", problem)  # a GPU is named: `check_cuda` decides
        gpus = ()
    seen = visible_gpus(gpus, visible)
    if not seen:  # `check_cuda` decides
        yield len(gpus)
        return
    home.identity()  # raises if nothing can be written there
    folder = _claims(home)
    folder.mkdir(parents=True, exist_ok=True)
    seated = PARENT_VARIABLE in os.environ
    candidates = seen[:1] if seated else _unoccupied(seen, folder) if visible is None else seen
    gpu, lock = _claim(candidates, folder)
    if not seated:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu.uuid
    log.info("this worker computes on GPU %d, %s (%s)", gpu.index, gpu.name, gpu.uuid)
    try:
        yield len(gpus)
    finally:
        if lock is not None:
            lock.release()


def _claims(home: Home) -> Path:
    return home.root / ".cache" / "gpus"


def _unoccupied(gpus: Sequence[Gpu], folder: Path) -> list[Gpu]:
    """The GPUs that are free or occupied by Retable's own workers only, as far as their claims show.

    Raises:
        DeviceError: there is none.
    """
    found = [gpu for gpu in gpus if not gpu.occupied or _is_claimed(gpu, folder)]
    if not found:
        full = ", ".join(f"{gpu}: {gpu.memory_used} of {gpu.memory_total} MiB" for gpu in gpus)
        raise DeviceError(
            f"other programs occupy every GPU ({full}). CUDA_VISIBLE_DEVICES={gpus[0].option} in front of the command "
            f"uses one anyway; {CPU_VARIABLE}"
        )
    return found


def _is_claimed(gpu: Gpu, folder: Path) -> bool:
    return _is_held(_lock(gpu.uuid, 0, folder))


def _is_held(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _claim(gpus: Sequence[Gpu], folder: Path) -> tuple[Gpu, FileLock | None]:
    """The GPU with the fewest claims, of equal ones the emptiest, and the lock that claims it.

    The locks of a GPU are numbered. The operating system releases those of a process that ends in any way.
    """
    emptiest = sorted(gpus, key=lambda gpu: gpu.memory_used / max(1, gpu.memory_total))
    for number in range(MOST_CLAIMS):
        for gpu in emptiest:
            lock = _lock(gpu.uuid, number, folder)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return gpu, lock
    return emptiest[0], None


def _lock(uuid: str, number: int, folder: Path) -> FileLock:
    return FileLock(folder / f"{uuid.replace('/', '-')}.{number}.lock")


def gpu_share(home: Home, cores: int) -> GpuShare:
    """How the GPU of this worker, which has claimed it, is divided.

    Args:
        cores: of this worker, as `cores_here` returns them.
    """
    if PARENT_VARIABLE in os.environ:
        workers = max(1, round(1 / float(os.environ.get(SHARE_VARIABLE, "1"))))
        return GpuShare(workers=workers, cores=workers * cores)
    uuid, folder = os.environ.get("CUDA_VISIBLE_DEVICES", ""), _claims(home)
    locks = (_lock(uuid, number, folder) for number in range(MOST_CLAIMS))
    held = sum(_is_held(lock) for lock in locks if Path(lock.lock_file).exists())
    return GpuShare(workers=max(1, held), cores=cores)  # those that were started by hand share the cores of the GPU


def check_cuda() -> None:
    """Check that torch can use this worker's GPU, if it has one.

    Raises:
        WorkerLeaves: it cannot; on the CPU the worker would train a hundred times slower than its study expects.
    """
    name = os.environ.get("CUDA_VISIBLE_DEVICES")
    seated = PARENT_VARIABLE in os.environ
    wanted = os.environ.get(DEVICE_VARIABLE) == "cuda" if seated else name is not None and not hides_all(name)
    if not wanted:
        return
    reason = no_cuda()
    code = EXIT_MISTAKE
    if reason:
        # Of a driver that hangs or resets, the next process may see the GPU again. The others stay as they are.
        temporary = any(text in reason for text in _TEMPORARY)
        code = EXIT_DEVICE if temporary else EXIT_MISTAKE
    else:
        reason = no_architecture(0)
    if reason:
        advice = "" if seated else f". {CPU_VARIABLE}"
        raise WorkerLeaves(f"this worker's GPU ({name}) cannot be used: {reason}{advice}", code)


def cores_here(host_gpus: int) -> int:
    """CPU cores for this worker: those of its seat, else the share of one GPU in those of the host.

    Args:
        host_gpus: number of GPUs of the host; 0: the worker has all that its process may use.
    """
    seat = os.environ.get(CORES_VARIABLE, "") if PARENT_VARIABLE in os.environ else ""
    if seat.isdigit() and int(seat):
        return int(seat)
    share = (os.cpu_count() or 1) // max(1, host_gpus)
    # Of the whole host, because a job of a cluster that has one GPU of eight was given its own part of the cores.
    return max(1, min(usable_cores(), share))
