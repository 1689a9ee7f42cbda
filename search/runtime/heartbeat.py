"""Heartbeat of a process, shown in `search status`. Ownership of work items is decided by leases alone."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

from storage.database.waiting import has_given_up
from storage.errors import StorageUnavailableError
from storage.records.workers import SEEN_WITHIN, Role, WorkerRecord, WorkerStore

INTERVAL = 20.0  # seconds between heartbeats

log = logging.getLogger(__name__)


class Heartbeat:
    """Registers this process in the database and updates its entry every `INTERVAL` seconds.

    A context manager: leaving it removes the entry. Entering waits for a database that does not answer. A later update
    that fails is logged and skipped.
    """

    def __init__(
        self,
        workers: WorkerStore,
        name: str,
        *,
        device: str,
        home: str | None,
        role: Role = Role.WORKER,
        study_id: int | None = None,
    ) -> None:
        """
        Args:
            name: unique, see `search.runtime.process_names`.
            home: identity of the home folder, see `search.runtime.home.Home.identity`; None: none.
            study_id: the study that the process works on; None: none yet.
        """
        self._workers = workers
        self._name = name
        self._device = device
        self._home = home
        self._role = role
        self._study_id = study_id
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def set_study(self, study_id: int | None) -> None:
        """Set the study that the process works on; None: none at the moment."""
        if study_id != self._study_id:
            self._study_id = study_id
            self._try_to_update()

    def __enter__(self) -> Heartbeat:
        self._write(self._workers.sign_on)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        if has_given_up():
            return  # the database does not answer; the entry expires
        self._thread.join()
        try:
            self._workers.sign_off(self._name)
        except StorageUnavailableError as error:
            log.warning("the entry of this process stays until it expires: %s", error)

    def _run(self) -> None:
        while not self._done.wait(INTERVAL):
            self._try_to_update()

    def _try_to_update(self) -> None:
        try:
            self._write(self._workers.heartbeat)
        except StorageUnavailableError as error:
            log.warning("this heartbeat is skipped: %s", error)

    def _write(self, write: Callable[..., None]) -> None:
        write(
            self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._device,
            role=self._role,
            home=self._home,
            study_id=self._study_id,
        )


def processes_present(workers: WorkerStore, study_id: int) -> list[WorkerRecord]:
    """The live processes that work on a study, wait for it, or are free for any study."""
    return [process for process in workers.alive(SEEN_WITHIN) if process.study_id in (study_id, None)]
