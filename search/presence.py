"""A worker's entry in the list of workers, kept fresh while it lives. For people to see: who owns what, leases
decide.
"""

from __future__ import annotations

import logging
import os
import socket
import threading

from storage.errors import StorageUnavailableError
from storage.workers import WorkerStore

SIGN_EVERY = 20.0  # seconds
SEEN_WITHIN = 75.0  # seconds without a sign of life after which a worker is taken for gone

log = logging.getLogger(__name__)


class Presence:
    """Signs on when entered, gives signs of life from a thread, signs off when left. An outage of the database is
    waited out.
    """

    def __init__(self, workers: WorkerStore, name: str, device: str, study_id: int) -> None:
        self._workers = workers
        self._name = name
        self._device = device
        self._study_id = study_id
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_signing, name="presence", daemon=True)

    def __enter__(self) -> Presence:
        self._sign()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()
        try:
            self._workers.sign_off(self._name)
        except StorageUnavailableError as error:
            log.warning("cannot sign off now: %s", error)

    def _keep_signing(self) -> None:
        while not self._done.wait(SIGN_EVERY):
            try:
                self._sign()
            except StorageUnavailableError as error:
                log.warning("no sign of life now: %s", error)

    def _sign(self) -> None:
        self._workers.heartbeat(
            self._name, host=socket.gethostname(), pid=os.getpid(), device=self._device, study_id=self._study_id
        )
