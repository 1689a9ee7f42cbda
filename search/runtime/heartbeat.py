"""A process's entry in the list of those that live, kept fresh. For people to see: who owns what, leases decide."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable

from storage.errors import StorageUnavailableError
from storage.records.workers import Role, WorkerRecord, WorkerStore

SIGN_EVERY = 20.0  # seconds
SEEN_WITHIN = 75.0  # seconds without a sign of life after which a worker is taken for gone

log = logging.getLogger(__name__)


class Heartbeat:
    """Signs on when entered, gives signs of life from a thread, signs off when left. Signing on waits for a database
    that does not answer; the others are left out.
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
        self._workers = workers
        self._name = name
        self._device = device
        self._home = home
        self._role = role
        self._study_id = study_id
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_signing, name="presence", daemon=True)

    def at(self, study_id: int | None) -> None:
        """Say which study it is at from now on; None: between studies."""
        if study_id != self._study_id:
            self._study_id = study_id
            self._try_to_sign()

    def __enter__(self) -> Heartbeat:
        self._sign(self._workers.sign_on)
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
            self._try_to_sign()

    def _try_to_sign(self) -> None:
        try:
            self._sign(self._workers.heartbeat)
        except StorageUnavailableError as error:
            log.warning("no sign of life now: %s", error)

    def _sign(self, sign: Callable[..., None]) -> None:
        sign(
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


def process_name() -> str:
    """A name for this process that no other ever had: ``HOST-PID-RANDOM``."""
    return f"{name_prefix(socket.gethostname(), os.getpid())}{secrets.token_hex(3)}"


def name_prefix(host: str, pid: int) -> str:
    """What the name of a process begins with, for those who know only where it ran (`search.engines`)."""
    return f"{host}-{pid}-"
