"""Shared memory between a training and the worker processes that prepare its batches.

A batch sent through a pipe is copied four times, and the interpreter of the training is busy while the batch arrives. A
batch in shared memory needs no copy.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import threading
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from trainer.common.files import lives, process_space

PREFIX = "retable_"
"""Prefix of the blocks' names, which shows in /dev/shm that they belong to this program."""
FOLDER = Path("/dev/shm")  # noqa: S108
"""Where Linux shows the blocks as files."""
LEFT_FREE = 2**20
"""Bytes of shared memory that are left to others. Every pool of processes needs a few for its semaphores."""

log = logging.getLogger(__name__)


class Slots:
    """A pool of shared-memory blocks, each for one batch. Thread-safe."""

    def __init__(self) -> None:
        self._free: list[SharedMemory] = []
        self._all: list[SharedMemory] = []
        self._is_short = False  # whether the host has refused a block since the last `close`
        self._lock = threading.Lock()

    def take(self, size: int) -> SharedMemory | None:
        """Take a block of at least ``size`` bytes; None if the host is short of shared memory."""
        with self._lock:
            fitting = next((slot for slot in self._free if slot.size >= size), None)
            if fitting is not None:
                self._free.remove(fitting)
                return fitting
            # Free blocks that are too small belong to an earlier training with smaller images.
            for slot in self._free:
                self._all.remove(slot)
                _destroy(slot)
            self._free.clear()
            return None if self._is_short else self._make(size)

    def _make(self, size: int) -> SharedMemory | None:
        try:
            slot = SharedMemory(f"{_own_prefix()}{secrets.token_hex(3)}", create=True, size=size)
        except OSError as error:
            self._record_shortage(error)
            return None
        try:
            # Allocate now: a full /dev/shm (64 MiB in many containers) would otherwise cause a bus error while a batch
            # is written, which kills the process.
            os.posix_fallocate(slot._fd, 0, size)  # type: ignore[attr-defined]
            host = os.fstatvfs(slot._fd)  # type: ignore[attr-defined]
            if host.f_blocks > 0 and host.f_bavail * host.f_frsize < LEFT_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            _destroy(slot)
            self._record_shortage(error)
            return None
        self._all.append(slot)
        return slot

    def _record_shortage(self, error: OSError) -> None:
        self._is_short = True
        log.warning("Shared memory is short (%s): batches go through pipes, which is slower.", error.strerror or error)

    def give_back(self, slot: SharedMemory) -> None:
        """Return a block to the pool, once no process reads or writes it."""
        with self._lock:
            if slot in self._all:  # otherwise `close` has destroyed it
                self._free.append(slot)

    def close(self) -> None:
        """Destroy all blocks; the memory of a block that is still mapped is freed when it is unmapped everywhere."""
        with self._lock:
            for slot in self._all:
                _destroy(slot)
            self._all.clear()
            self._free.clear()
            self._is_short = False


def remove_leftovers(folder: Path = FOLDER) -> int:
    """Remove the blocks of dead processes; returns their number.

    The memory of a killed training is freed by a process of Python that watches it. Where that is killed as well, as by
    the out-of-memory killer of a container or a batch system, the blocks would stay until the host is switched off.
    """
    removed = 0
    for path in folder.glob(f"{PREFIX}*"):
        named = re.fullmatch(rf"{PREFIX}(\d+)_([0-9a-f]{{8}})_[0-9a-f]+", path.name)
        if named and named[2] == process_space() and not lives(int(named[1])):
            with suppress(OSError):  # removed meanwhile, or the block of another user
                path.unlink()
                removed += 1
    return removed


def _own_prefix() -> str:
    """What the names of this process's blocks begin with. Process ids are unique within a `process_space` only."""
    return f"{PREFIX}{os.getpid()}_{process_space()}_"


def _destroy(slot: SharedMemory) -> None:
    with suppress(FileNotFoundError):  # removed by another: systemd does so for users who log out (RemoveIPC)
        slot.unlink()
    _held.append(slot)
    for held in [*_held]:
        with suppress(BufferError):
            held.close()
            _held.remove(held)


_held: list[SharedMemory] = []  # destroyed blocks that an array still uses; closing them would unmap its memory
