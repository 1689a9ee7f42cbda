"""Shared memory between a training and the worker processes that prepare its batches.

A batch sent through a pipe is copied four times, and the interpreter of the training is busy while the batch arrives. A
batch in shared memory needs no copy.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from multiprocessing.shared_memory import SharedMemory

PREFIX = "retable_"
"""Prefix of the blocks' names, which shows in /dev/shm that they belong to this program."""

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
            slot = SharedMemory(f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}", create=True, size=size)
        except OSError as error:
            self._record_shortage(error)
            return None
        try:
            # Allocate now: a full /dev/shm (64 MiB in many containers) would otherwise cause a bus error while a batch
            # is written, which kills the process.
            os.posix_fallocate(slot._fd, 0, size)  # type: ignore[attr-defined]
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


def _destroy(slot: SharedMemory) -> None:
    slot.unlink()
    try:
        slot.close()
    except BufferError:
        _held.append(slot)


_held: list[SharedMemory] = []  # destroyed blocks that an array still uses; closing them would unmap its memory
