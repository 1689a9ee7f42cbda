"""Holding a trial while it trains."""

from __future__ import annotations

import logging
import threading

from storage.errors import StorageUnavailableError
from storage.work import WorkQueue
from storage.work_items import WorkItem

LEASE = 120.0  # seconds without renewal after which another worker may adopt a trial
RENEW_EVERY = 20.0  # seconds; several renewals may fail before the lease runs out

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews a lease from a thread of its own while used as a context manager.

    A database that does not answer is asked again at the next turn: an outage shorter than the lease costs nothing,
    and after a longer one the attempt number decides who holds the trial. Once `lost` is true it stays so, and
    nothing may be stored.
    """

    def __init__(self, queue: WorkQueue, item: WorkItem, *, renew_every: float = RENEW_EVERY) -> None:
        self._queue = queue
        self._item = item
        self._renew_every = renew_every
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{item.id}", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether another worker holds the trial now."""
        return self._lost.is_set()

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._done.wait(self._renew_every):
            try:
                held = self._queue.renew(self._item, LEASE)
            except StorageUnavailableError as error:
                log.warning("cannot renew the lease of work item %d now: %s", self._item.id, error)
                continue
            if not held:
                self._lost.set()
                return
