"""Workers as processes on this host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from search.devices import Placement
from search.exit_codes import EXIT_MISTAKE

PARENT_VARIABLE = "RETABLE_PARENT"
"""Environment variable that tells a worker which process it serves: when that one ends, so does the worker."""

PLACE_VARIABLE = "RETABLE_PLACE"
"""Environment variable that tells a worker its place among its fleet: 0, 1, 2 ..."""

RESTARTS = 3
"""How often a worker that crashed is started again before it is given up."""

FAREWELL = 10.0  # seconds that idle workers have to leave by themselves
LOG_TAIL = 12  # lines of a crashed worker's log that are worth showing


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """What every local worker is told; the database URL travels in the environment, never in a process title."""

    study: str
    storage_url: str
    data: Path
    home: Path
    weights: Path | None = None


@dataclass
class _Slot:
    gpu: str | None
    log: Path
    process: subprocess.Popen[bytes]
    crashes: int = 0


class LocalFleet:
    """Worker processes of this host, each in a session of its own so that Ctrl-C reaches only the parent, which tells
    them.

    A worker that crashes is started again up to `RESTARTS` times: its trial waits for it. One that was given bad
    input would only fail again. The fleet owns its processes: use it as a context manager, and none is left behind.
    """

    def __init__(self, command: WorkerCommand, placement: Placement, logs: Path) -> None:
        self._command = command
        self._placement = placement
        self._logs = logs
        self._slots: list[_Slot] = []

    def __enter__(self) -> LocalFleet:
        self._logs.mkdir(parents=True, exist_ok=True)
        for place, gpu in enumerate(self._placement.gpus):
            self._slots.append(_Slot(gpu=gpu, log=self._log(place), process=self._launch(place, gpu)))
        return self

    def __exit__(self, *exc: object) -> None:
        # Those with nothing in hand leave in a moment and sign off; who does not is in trouble.
        self.ask_to_stop()
        self.wait(FAREWELL)
        self.kill()

    def _log(self, place: int) -> Path:
        return self._logs / f"worker-{place}.log"

    def _launch(self, place: int, gpu: str | None) -> subprocess.Popen[bytes]:
        command = self._command
        arguments = ["worker", "--study", command.study, "--data", str(command.data), "--home", str(command.home)]
        if command.weights is not None:
            arguments += ["--weights", str(command.weights)]
        threads = str(self._placement.threads)
        environment = {
            **os.environ,
            "RETABLE_STORAGE": command.storage_url,
            PARENT_VARIABLE: str(os.getpid()),
            PLACE_VARIABLE: str(place),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        with self._log(place).open("ab") as output:
            return subprocess.Popen(
                # -P: a folder called "search" or "storage" where the user stands must not be taken for ours.
                [sys.executable, "-P", "-m", "search.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def tend(self) -> bool:
        """Start crashed workers again. Returns whether any worker lives."""
        alive = False
        for place, slot in enumerate(self._slots):
            code = slot.process.poll()
            if code is None:
                alive = True
            elif code not in (0, EXIT_MISTAKE) and slot.crashes < RESTARTS:
                slot.crashes += 1
                slot.process = self._launch(place, slot.gpu)
                alive = True
        return alive

    def crash_report(self) -> str:
        """The ends of the logs of all workers that ended with an error; empty where none did."""
        return "\n".join(
            f"worker {index} ended with exit code {slot.process.returncode}; the end of {slot.log}:\n{_tail(slot.log)}"
            for index, slot in enumerate(self._slots)
            if slot.process.poll() not in (None, 0)
        )

    def ask_to_stop(self) -> None:
        """Tell every worker to finish its epoch, write a checkpoint and leave."""
        for slot in self._slots:
            if slot.process.poll() is None:
                slot.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds; whether they have."""
        deadline = time.monotonic() + timeout
        for slot in self._slots:
            try:
                slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return False
        return True

    def kill(self) -> None:
        """End every worker at once, and reap it."""
        for slot in self._slots:
            if slot.process.poll() is None:
                slot.process.kill()
                slot.process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    return "\n".join("  " + line for line in lines)
