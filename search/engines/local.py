"""The local engine: workers as processes on this host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from search.engines.interface import FAREWELL, WorkerCommand
from search.engines.process import Seat, WorkerProcess
from search.engines.restarts import Restarts
from search.runtime.errors import EXIT_BUG
from search.runtime.gpus.placement import Placement

log = logging.getLogger(__name__)


@dataclass
class _Slot:
    """One worker of the fleet and, after a crash, its successors."""

    seat: Seat
    log: Path
    restarts: Restarts
    process: WorkerProcess | None = None
    """The latest worker in this slot, dead or alive."""
    reaped: bool = True
    """Whether the end of that worker has been recorded."""
    start_error: str = ""
    """Why the latest worker could not be started; empty: it was."""


class LocalFleet:
    """Worker processes of this host; see `search.engines.interface.Fleet`.

    A crashed worker is restarted by the rules of `Restarts`. Leaving the context ends all processes of the fleet.
    """

    def __init__(
        self, command: WorkerCommand, placement: Placement, logs: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            logs: folder of the workers' logs, one file per slot.
            clock: monotonic time in seconds, for the pauses between restarts.
        """
        self._command = command
        self._slots = [
            _Slot(
                seat=Seat(
                    place=place,
                    threads=placement.threads,
                    cores=placement.cores,
                    has_gpu=gpu is not None,
                    gpus="" if gpu is None and placement.hide_gpus else gpu,
                    gpu_share=1 / placement.per_gpu,
                ),
                log=logs / f"worker-{place}.log",
                restarts=Restarts(clock),
            )
            for place, gpu in enumerate(placement.gpus)
        ]
        self._newly_dead: list[str] = []  # names
        self._stopping = False

    def __enter__(self) -> LocalFleet:
        self.poll()
        return self

    def __exit__(self, *exc: object) -> None:
        # Idle workers end within moments; the others are killed, and their leases expire.
        self.ask_to_stop()
        self.wait(FAREWELL)
        self.kill()

    def poll(self) -> bool:
        """Restart crashed workers whose restart is due. Returns whether any worker lives or waits for its restart."""
        alive = False
        for slot in self._slots:
            self._reap(slot)
            if slot.restarts.due and not self._stopping:
                self._launch(slot)
            alive |= not slot.reaped or (slot.restarts.seconds_left is not None and not self._stopping)
        return alive

    def _launch(self, slot: _Slot) -> None:
        slot.restarts.started()
        try:
            slot.process = WorkerProcess(self._command, slot.seat, slot.log)
        except OSError as error:
            # Perhaps out of memory or processes for the moment: handled like a crash.
            slot.start_error = f"worker {slot.seat.place} cannot be started: {error}"
            log.warning("%s", slot.start_error)
            slot.restarts.ended(EXIT_BUG)
        else:
            slot.reaped, slot.start_error = False, ""

    def _reap(self, slot: _Slot) -> None:
        """Record the end of the slot's worker, once."""
        if slot.process is None or slot.reaped:
            return
        code = slot.process.poll()
        if code is not None:
            slot.reaped = True
            slot.restarts.ended(code)
            self._newly_dead.append(slot.process.name)

    def waits_for(self) -> str:
        """The crashed workers that will be restarted, with the seconds left; empty if there are none."""
        return ", ".join(
            f"worker {slot.seat.place} restarts in {left:.0f} s"
            for slot in self._slots
            if (left := slot.restarts.seconds_left) is not None and not self._stopping
        )

    def dead_workers(self) -> Collection[str]:
        """Names of the workers that have ended since the last call."""
        newly_dead, self._newly_dead = self._newly_dead, []
        return newly_dead

    def crash_report(self) -> str:
        """The last log lines of all workers that ended with an error; empty if there are none."""
        return "\n".join(report for slot in self._slots if (report := _crash_report(slot)))

    def ask_to_stop(self) -> None:
        """Ask every worker to finish its epoch, write a checkpoint and end. No worker is restarted afterwards."""
        self._stopping = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.terminate()

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds. Returns whether they have."""
        deadline = time.monotonic() + timeout
        for slot in self._slots:
            if slot.process is not None and not slot.process.wait(max(0.0, deadline - time.monotonic())):
                return False
            self._reap(slot)
        return True

    def kill(self) -> None:
        """Kill every worker and record its end."""
        self._stopping = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                self._reap(slot)


def _crash_report(slot: _Slot) -> str:
    """Why the slot's latest worker failed; empty if it did not."""
    if slot.start_error or slot.process is None or slot.process.poll() in (None, 0):
        return slot.start_error
    headline = f"worker {slot.seat.place} ended with exit code {slot.process.poll()}; the end of {slot.log}:"
    return f"{headline}\n{slot.process.log_tail()}"
