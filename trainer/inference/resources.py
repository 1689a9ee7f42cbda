"""Memory and processor time: how much memory is left, reservations of it, and how torch uses both."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from .errors import ImageError

SMALL = 64 * 2**20  # bytes; smaller reservations are granted at once

_CGROUPS = (  # folder of the container, and its files of limit and current use: cgroup version 2 and 1
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_turn = threading.Condition()
_reserved = 0

WAIT_POLICY = "OMP_WAIT_POLICY"
PASSIVE_WAITING = {WAIT_POLICY: "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Environment variables that let the threads of OpenMP sleep while they wait: for any OpenMP, for GNU's, for LLVM's."""

ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Environment variables with the settings of torch's allocator for GPUs: for new and for older releases of torch."""
EXPANDABLE_SEGMENTS = "expandable_segments:True"

HEAP_SETTINGS = {-8: 1, -4: 0, -1: 2**31 - 1, -2: 64 * 2**20}
"""Parameters of glibc's ``mallopt``: one heap for all threads (M_ARENA_MAX), no block beside it (M_MMAP_MAX), bytes at
its end that are kept (M_TRIM_THRESHOLD; the largest value), and bytes that it grows by at least (M_TOP_PAD)."""

CPU_BATCH_PIXELS = 8 * 224**2  # pixels of a forward pass on a CPU, see `forward_batch`
LEAST_CPU_BATCH = 4  # images


def prepare_torch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what torch reads when it is loaded: how its threads wait, and how it takes memory from a GPU.

    With expandable segments the allocator enlarges a block instead of taking another one, so it keeps less memory that
    no tensor can use. If one of `ALLOCATOR_SETTINGS` is set, both stay as they are.
    """
    wait_passively(environment)
    if not any(name in environment for name in ALLOCATOR_SETTINGS):
        environment.update(dict.fromkeys(ALLOCATOR_SETTINGS, EXPANDABLE_SEGMENTS))


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the threads of torch sleep while they wait for each other at the end of each operation.

    By default they spin for milliseconds. Where other processes use the same cores, a spinning thread occupies the core
    that the thread it waits for needs, and a training can become twenty times slower.

    OpenMP reads the variables when it is loaded, so this call must precede the imports of torch and numpy. Variables
    that are set stay as they are. If `WAIT_POLICY` is set, none is added, because the others take precedence over it.
    """
    if WAIT_POLICY not in environment:
        for name, value in PASSIVE_WAITING.items():
            environment.setdefault(name, value)


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let the C library keep the memory that torch frees on the CPU, until `give_back_memory`.

    By default glibc returns every large block to the system at once, and each layer of a network takes its memory anew,
    page by page: a fifth of the time of a training step, and a third of that of a prediction, on a virtual machine. For
    the same reason PyTorch's performance tuning guide recommends another allocator than glibc's.

    It acts on the whole process, best before it has further threads. A process that does so and forks while it has
    threads may hang in the fork; Retable starts all processes anew. Settings of the user (``MALLOC_...``, or
    ``GLIBC_TUNABLES`` for malloc) stay as they are.

    Returns:
        Whether the C library has taken the settings. False: it is not glibc, or the user has chosen others.
    """
    chosen = any(name.startswith("MALLOC_") for name in environment)
    library = _heap_library()
    if library is None or chosen or "glibc.malloc." in environment.get("GLIBC_TUNABLES", ""):
        return False
    done = [library.mallopt(parameter, value) for parameter, value in HEAP_SETTINGS.items()]
    return all(done)


def give_back_memory() -> None:
    """Return freed memory to the system, also where `keep_freed_memory` keeps it."""
    library = _heap_library()
    if library is not None:
        library.malloc_trim(0)


def _heap_library() -> ctypes.CDLL | None:
    """The C library, if it is glibc or has its functions."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def available_memory() -> int | None:
    """Bytes that this process can still use: the machine's, or its container's if that has less. None: unknown."""
    rooms = [_machine(), *(_container(Path(folder), limit, used) for folder, limit, used in _CGROUPS)]
    known = [room for room in rooms if room is not None]
    return max(0, min(known)) if known else None


def size_text(size: int) -> str:
    """A number of bytes for a message, such as ``1.4 GiB``."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


@contextmanager
def reserved(size: int) -> Iterator[None]:
    """Reserve ``size`` bytes; waits while other threads have reserved too much for both.

    Raises:
        ImageError: the memory does not suffice even for this image alone.
    """
    global _reserved
    if size <= SMALL:
        yield
        return
    with _turn:
        while (room := available_memory()) is not None and _reserved + size > room:
            if not _reserved:
                raise ImageError(
                    f"decoding takes about {size_text(size)} of memory, and {size_text(room)} are free: make the image "
                    "smaller, or use a machine with more memory"
                )
            _turn.wait()
        _reserved += size
    try:
        yield
    finally:
        with _turn:
            _reserved -= size
            _turn.notify_all()


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):  # not Linux
        return None


def _container(folder: Path, limit: str, used: str) -> int | None:
    try:
        room = int((folder / limit).read_text(encoding="ascii")) - int((folder / used).read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no such cgroup, or the limit is "max"
        return None
    # Files that were read stay in memory until it is needed; they count as used.
    return room + sum(int(line.split()[1]) for line in lines if line.startswith(("active_file ", "inactive_file ")))


def forward_batch(side: int, device: str, most: int) -> int:
    """Images of one forward pass without gradients: on a CPU as many as its caches hold well, else ``most``.

    On two cores, EfficientNet-Lite0 predicts images of 224 pixels 2.3 times as fast by 8 as by 64, those of 128 pixels
    1.5 times (medians of five runs).

    Args:
        side: of the images in pixels.
        device: type of the device, such as ``cpu``.
        most: at least 1.
    """
    return min(most, max(LEAST_CPU_BATCH, CPU_BATCH_PIXELS // side**2)) if device == "cpu" else most
