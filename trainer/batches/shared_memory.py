"""Memory that a training shares with the processes that make its batches.

A batch sent through a pipe is copied four times and keeps the training's interpreter busy while it arrives. A batch
written into shared memory is there.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from multiprocessing.shared_memory import SharedMemory

PREFIX = "retable_"
"""How the blocks' names begin: whoever finds one in /dev/shm knows whose it is."""

log = logging.getLogger(__name__)


class Slots:
    """Blocks of shared memory, each for one batch, used again and again. Safe to use from several threads."""

    def __init__(self) -> None:
        self._free: list[SharedMemory] = []
        self._all: list[SharedMemory] = []
        self._full = False
        self._lock = threading.Lock()

    def take(self, size: int) -> SharedMemory | None:
        """A block of at least ``size`` bytes; None where the host has no room for it, so that batches go by pipe."""
        with self._lock:
            fitting = next((slot for slot in self._free if slot.size >= size), None)
            if fitting is not None:
                self._free.remove(fitting)
                return fitting
            # Those that are free and too small are of an earlier training with smaller images.
            for slot in self._free:
                self._all.remove(slot)
                _destroy(slot)
            self._free.clear()
            return None if self._full else self._make(size)

    def _make(self, size: int) -> SharedMemory | None:
        try:
            slot = SharedMemory(f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}", create=True, size=size)
        except OSError as error:
            self._note(error)
            return None
        try:
            # Without this a full /dev/shm (64 MiB in many containers) would only show when a batch is written, as a
            # bus error that kills the process.
            os.posix_fallocate(slot._fd, 0, size)  # type: ignore[attr-defined]
        except OSError as error:
            _destroy(slot)
            self._note(error)
            return None
        self._all.append(slot)
        return slot

    def _note(self, error: OSError) -> None:
        self._full = True
        log.warning("Shared memory is short (%s): batches go through pipes, which is slower.", error.strerror or error)

    def give_back(self, slot: SharedMemory) -> None:
        """Nobody reads or writes it any more. From any thread."""
        with self._lock:
            if slot in self._all:  # and not destroyed since
                self._free.append(slot)

    def close(self) -> None:
        """Destroy all blocks; those still mapped by others go when these do."""
        with self._lock:
            for slot in self._all:
                _destroy(slot)
            self._all.clear()
            self._free.clear()
            self._full = False


def _destroy(slot: SharedMemory) -> None:
    slot.unlink()
    try:
        slot.close()
    except BufferError:
        _held.append(slot)


_held: list[SharedMemory] = []  # destroyed, but an array on it is still in somebody's hands: closing would pull it away
