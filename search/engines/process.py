"""One worker as a process of this host, whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from search.engines.interface import WorkerCommand
from search.runtime.worker_environment import PARENT_VARIABLE, PLACE_VARIABLE, SHARE_VARIABLE

REAP_TIME = 5.0  # seconds that the kernel has to end a killed process
LOG_LIMIT = 10 * 2**20  # bytes from which a log is put aside before the next worker writes to it
TAIL_LINES = 12  # lines of a crashed worker's log that are worth showing
TAIL_BYTES = 16 * 2**10  # read for them


@dataclass(frozen=True, kw_only=True)
class Seat:
    """What one worker gets of its host."""

    place: int
    threads: int
    gpus: str | None = None
    """Its ``CUDA_VISIBLE_DEVICES``; empty: none, None: as the environment says."""
    gpu_share: float = 1.0
    """The part of its GPU that is its own."""


class WorkerProcess:
    """A running worker, in a session of its own so that Ctrl-C reaches only the parent, which tells it.

    The process belongs to this object and to the process that made it: when that ends, the worker leaves by itself.
    """

    def __init__(self, command: WorkerCommand, seat: Seat, log: Path, *, python: str | None = None) -> None:
        """Start it; what it prints goes to the end of ``log``.

        Args:
            python: the interpreter, by default this process' own.

        Raises:
            OSError: the interpreter cannot be started or the log cannot be written.
        """
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate(log)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # -P: a folder called "search" or "storage" where the user stands must not be taken for ours.
                [python or sys.executable, "-P", "-m", "search.cli", *command.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(command, seat),
                start_new_session=True,
            )

    @property
    def name(self) -> str:
        """How the worker's name in the database begins."""
        return f"{socket.gethostname()}-{self._process.pid}-"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self._log

    def poll(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it lives."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to hand its trial back and leave, unless it has ended."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, and reap it."""
        if self.poll() is None:
            self._process.kill()
            # With a timeout: this may run in a signal handler that interrupted `wait`, whose lock it must not wait for.
            self.wait(REAP_TIME)

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended, at most ``timeout`` seconds; whether it has."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """The end of its log, indented."""
        return tail(self._log)


def _environment(command: WorkerCommand, seat: Seat) -> dict[str, str]:
    threads = str(seat.threads)
    environment = {
        **os.environ,
        "RETABLE_STORAGE": command.storage_url,
        PARENT_VARIABLE: str(os.getpid()),
        PLACE_VARIABLE: str(seat.place),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if seat.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = seat.gpus
    environment.pop(SHARE_VARIABLE, None)
    if seat.gpu_share < 1:
        environment[SHARE_VARIABLE] = f"{seat.gpu_share:.4g}"
    return environment


def rotate(log: Path) -> None:
    """Put a log that has grown over `LOG_LIMIT` aside as ``NAME.old``, over the one that lay there."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".old"))


def tail(log: Path) -> str:
    """The last lines of a log, indented. Logs grow for nights: only their end is read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
            # A worker that leaves says why in its last words; what it did before is in the log.
            told = [index for index, line in enumerate(lines) if line.startswith("error: ")]
            lines = lines[told[-1] :] if told else lines
    except OSError as error:
        lines = [f"(cannot be read: {error.strerror})"]
    return "\n".join("  " + line for line in lines)
