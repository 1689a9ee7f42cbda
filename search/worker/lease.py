"""Holding a trial while it trains."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from storage.errors import StorageUnavailableError
from storage.queue.items import WorkItem
from storage.queue.work_queue import WorkQueue

LEASE = 120.0  # seconds without renewal after which another worker may adopt a trial
RENEWALS = 6  # in the time of one lease: several may fail before it runs out

log = logging.getLogger(__name__)


def real_time() -> float:
    """Seconds that go on while the machine sleeps, where the system counts them; they never jump."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class LeaseKeeper:
    """Renews a lease from a thread of its own while used as a context manager.

    A database that does not answer is asked again at the next turn: an outage shorter than the lease costs nothing,
    and after a longer one the attempt number decides who holds the trial. Once `lost` is true it stays so, and
    nothing may be stored.
    """

    def __init__(
        self, queue: WorkQueue, item: WorkItem, *, lease: float = LEASE, clock: Callable[[], float] = real_time
    ) -> None:
        """
        Args:
            lease: seconds.
            clock: seconds, see `real_time`.
        """
        self._queue = queue
        self._item = item
        self._lease = lease
        self._clock = clock
        self._renewed = clock()
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{item.id}", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether another worker is known to hold the trial."""
        return self._lost.is_set()

    def check(self) -> bool:
        """Whether the trial is still ours, before something is written that others read.

        A process that was suspended, swapped out or asleep with its machine asks the database first: its lease may have
        run out while it stood still.
        """
        if self._clock() - self._renewed >= self._lease / 2:
            self._renew()
        return not self.lost

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._done.wait(self._lease / RENEWALS):
            self._renew()
            if self.lost:
                return

    def _renew(self) -> None:
        begun = self._clock()
        try:
            held = self._queue.renew(self._item, self._lease)
        except StorageUnavailableError as error:
            log.warning("cannot renew the lease of work item %d now: %s", self._item.id, error)
            return
        if held:
            self._renewed = begun
        else:
            self._lost.set()
