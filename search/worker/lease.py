"""Lease of a work item, renewed by a background thread while the item trains."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from storage.errors import StorageUnavailableError
from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue

LEASE = 120.0  # seconds without renewal after which another worker may adopt a trial
RENEWALS = 6  # per lease, so that several may fail before it expires

log = logging.getLogger(__name__)


def real_time() -> float:
    """Monotonic time in seconds. On Linux it includes the time during which the machine was suspended."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class LeaseKeeper:
    """Renews the lease of a work item in a background thread. A context manager.

    If the database does not answer, the thread tries again a sixth of the lease later (`RENEWALS`). An outage shorter
    than the lease has no effect. After a longer one, another worker may have taken the item with a higher attempt
    number. `lost` then becomes true and stays true, and nothing may be stored for the item.
    """

    def __init__(
        self, queue: WorkQueue, item: WorkItem, *, lease: float = LEASE, clock: Callable[[], float] = real_time
    ) -> None:
        """
        Args:
            lease: length of the lease in seconds.
            clock: monotonic time in seconds, see `real_time`.
        """
        self._queue = queue
        self._item = item
        self._lease = lease
        self._clock = clock
        self._renewed_at = clock()
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{item.id}", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether a renewal has found that another worker holds the item."""
        return self._lost.is_set()

    def check(self) -> bool:
        """Whether this worker still holds the item. Call it before writing something that other processes read.

        The lease may have expired if the process was suspended or swapped out. If the last renewal is older than half
        a lease, this call therefore renews the lease first.
        """
        if self._clock() - self._renewed_at >= self._lease / 2:
            self._renew()
        return not self.lost

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._lease / RENEWALS):
            self._renew()
            if self.lost:
                return

    def _renew(self) -> None:
        now = self._clock()  # before the call, so that the lease is never believed to last longer than it does
        try:
            held = self._queue.renew(self._item, self._lease)
        except StorageUnavailableError as error:
            log.warning("cannot renew the lease of work item %d now: %s", self._item.id, error)
            return
        if held:
            self._renewed_at = now
        else:
            self._lost.set()
