"""A worker process on this host: its start, its environment, its log and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from search.engines.interface import WorkerCommand
from search.runtime.process_names import full_name, new_suffix
from search.runtime.worker_environment import (
    CORES_VARIABLE,
    DEVICE_VARIABLE,
    PARENT_VARIABLE,
    PLACE_VARIABLE,
    SHARE_VARIABLE,
    SUFFIX_VARIABLE,
)
from trainer.inference.resources import prepare_torch

REAP_TIME = 5.0  # seconds that the kernel has to end a killed process
LOG_LIMIT = 10 * 2**20  # bytes above which a log is rotated at the start of the next worker
TAIL_LINES = 12  # lines of a log that a crash report shows
TAIL_BYTES = 16 * 2**10  # bytes read from the end of a log for them


@dataclass(frozen=True, kw_only=True)
class Seat:
    """The resources of its host that one worker may use."""

    place: int
    """Index of the worker in its fleet."""
    threads: int
    """CPU threads."""
    cores: int
    """CPU cores, for threads and for the processes that read and augment images."""
    has_gpu: bool = False
    """Whether the worker has a GPU, without which it must not train."""
    gpus: str | None = None
    """Value of ``CUDA_VISIBLE_DEVICES``; empty: no GPU, None: as in this process's environment."""
    gpu_share: float = 1.0
    """Share of the GPU's memory, above 0, up to 1."""


class WorkerProcess:
    """A worker process. It stops when its parent process ends.

    It runs in its own session, so that Ctrl-C reaches only the parent, which then stops its workers in order.
    """

    def __init__(self, command: WorkerCommand, seat: Seat, log: Path, *, python: str | None = None) -> None:
        """Start the worker; its output is appended to ``log``.

        Args:
            python: path of the interpreter; None: the one of this process.

        Raises:
            OSError: the interpreter cannot be started or the log cannot be written.
        """
        self._log = log
        self._suffix = new_suffix()
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate(log)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                # -P: a folder "search" or "storage" in the current directory must not hide the packages.
                [python or sys.executable, "-P", "-m", "search.cli", *command.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(command, seat, self._suffix),
                start_new_session=True,
            )

    @property
    def name(self) -> str:
        """The worker's name in the database."""
        return full_name(self._process.pid, self._suffix)

    @property
    def log(self) -> Path:
        """File of the worker's output."""
        return self._log

    def poll(self) -> int | None:
        """The exit code, or the negative number of the signal that ended the worker; None while it lives."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask the worker to release its trial and end; no effect if it has ended."""
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the worker and reap its process."""
        if self.poll() is None:
            self._process.kill()
            # With a timeout: in a signal handler that interrupted `wait`, the lock of `wait` is never released.
            self.wait(REAP_TIME)

    def wait(self, timeout: float) -> bool:
        """Wait until the worker has ended, at most ``timeout`` seconds. Returns whether it has."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_tail(self) -> str:
        """The last lines of the worker's log, indented."""
        return tail(self._log)


def _environment(command: WorkerCommand, seat: Seat, suffix: str) -> dict[str, str]:
    threads = str(seat.threads)
    environment = {
        **os.environ,
        "RETABLE_STORAGE": command.storage_url,
        **command.tracking.environment,
        PARENT_VARIABLE: str(os.getpid()),
        PLACE_VARIABLE: str(seat.place),
        SUFFIX_VARIABLE: suffix,
        CORES_VARIABLE: str(seat.cores),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    prepare_torch(environment)
    if seat.gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = seat.gpus
    environment.pop(DEVICE_VARIABLE, None)
    if seat.has_gpu:
        environment[DEVICE_VARIABLE] = "cuda"
    environment.pop(SHARE_VARIABLE, None)
    if seat.gpu_share < 1:
        environment[SHARE_VARIABLE] = f"{seat.gpu_share:.4g}"
    return environment


def rotate(log: Path) -> None:
    """Rename a log larger than `LOG_LIMIT` to ``NAME.old``, replacing an older one."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".old"))


def tail(log: Path) -> str:
    """The last lines of a log, indented: from its last ``error: `` line on if there is one, else `TAIL_LINES` lines."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
            errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
            lines = lines[errors[-1] :] if errors else lines
    except OSError as error:
        lines = [f"(cannot be read: {error.strerror})"]
    return "\n".join("  " + line for line in lines)
