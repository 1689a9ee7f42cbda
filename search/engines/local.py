"""Workers as processes on this host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from search.engines.interface import FAREWELL, WorkerCommand
from search.engines.process import Seat, WorkerProcess
from search.engines.restarts import Restarts
from search.runtime.devices import Placement
from search.runtime.errors import EXIT_BUG

log = logging.getLogger(__name__)


@dataclass
class _Slot:
    seat: Seat
    log: Path
    restarts: Restarts
    process: WorkerProcess | None = None
    """Its latest worker, reaped or not."""
    reaped: bool = True
    trouble: str = ""
    """Why the latest worker could not even be started."""


class LocalFleet:
    """Worker processes of this host; see `search.engines.interface.Fleet`.

    A worker that crashed is started again as `Restarts` says: its trial waits for it. The fleet owns its processes:
    use it as a context manager, and none is left behind.
    """

    def __init__(
        self, command: WorkerCommand, placement: Placement, logs: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            logs: folder of the workers' logs, one a place.
            clock: what the pauses between restarts are measured with, in seconds.
        """
        self._command = command
        self._slots = [
            _Slot(
                seat=Seat(
                    place=place,
                    threads=placement.threads,
                    gpus="" if gpu is None and placement.hide_gpus else gpu,
                    gpu_share=1 / placement.per_gpu,
                ),
                log=logs / f"worker-{place}.log",
                restarts=Restarts(clock),
            )
            for place, gpu in enumerate(placement.gpus)
        ]
        self._buried: list[str] = []
        self._stopping = False

    def __enter__(self) -> LocalFleet:
        self.poll()
        return self

    def __exit__(self, *exc: object) -> None:
        # Those with nothing in hand leave in a moment and sign off; who does not is in trouble.
        self.ask_to_stop()
        self.wait(FAREWELL)
        self.kill()

    def poll(self) -> bool:
        """Start crashed workers again once they are due. Returns whether any worker lives or waits for its restart."""
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
            # Out of memory or processes, for the moment perhaps: as good as a worker that crashed.
            slot.trouble = f"worker {slot.seat.place} cannot be started: {error}"
            log.warning("%s", slot.trouble)
            slot.restarts.ended(EXIT_BUG)
        else:
            slot.reaped, slot.trouble = False, ""

    def _reap(self, slot: _Slot) -> None:
        """Take note of a worker's end, once."""
        if slot.process is None or slot.reaped:
            return
        code = slot.process.poll()
        if code is not None:
            slot.reaped = True
            slot.restarts.ended(code)
            self._buried.append(slot.process.name)

    def waits_for(self) -> str:
        """Which workers crashed and are started again soon; empty where none is."""
        return ", ".join(
            f"worker {slot.seat.place} starts again in {left:.0f} s"
            for slot in self._slots
            if (left := slot.restarts.seconds_left) is not None and not self._stopping
        )

    def dead_workers(self) -> Collection[str]:
        """Beginnings of the names of workers that have ended, each told once."""
        dead_workers, self._buried = self._buried, []
        return dead_workers

    def crash_report(self) -> str:
        """The ends of the logs of all workers that ended with an error; empty where none did."""
        return "\n".join(report for slot in self._slots if (report := _report(slot)))

    def ask_to_stop(self) -> None:
        """Tell every worker to finish its epoch, write a checkpoint and leave. None is started again."""
        self._stopping = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.terminate()

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds; whether they have."""
        deadline = time.monotonic() + timeout
        for slot in self._slots:
            if slot.process is not None and not slot.process.wait(max(0.0, deadline - time.monotonic())):
                return False
            self._reap(slot)
        return True

    def kill(self) -> None:
        """End every worker at once, and reap it."""
        self._stopping = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                self._reap(slot)


def _report(slot: _Slot) -> str:
    if slot.trouble or slot.process is None or slot.process.poll() in (None, 0):
        return slot.trouble
    end = f"worker {slot.seat.place} ended with exit code {slot.process.poll()}; the end of {slot.log}:"
    return f"{end}\n{slot.process.last_words()}"
