"""The Ray engine: workers on the machines of a Ray cluster.

Ray places the workers and reports lost machines. Each worker is an ordinary worker process that takes its work from the
database, so that no trial depends on Ray's memory.
"""

from __future__ import annotations

import enum
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.engines.interface import FAREWELL, EngineError, WorkerCommand
from search.engines.process import Seat, rotate
from search.engines.ray_cluster import connect, fitting_cpus, is_alive
from search.engines.ray_node import NodeView, NodeWorker, WorkerStarted, WorkerState
from search.engines.ray_shipping import DataPacker
from search.engines.restarts import Restarts
from search.runtime.errors import EXIT_BUG

try:
    import ray
    from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
except ImportError as error:
    raise EngineError("the Ray engine needs the ray package: pip install -e '.[ray]'") from error

ANSWERS_TIME = 0.2  # seconds that `poll` waits for answers; later ones are processed by the next call
FETCH_TIME = 5.0  # seconds to fetch an answer that has arrived
WAITING_INTERVAL = 0.1  # seconds between two checks of the workers while `wait` waits

log = logging.getLogger(__name__)


class _Stage(enum.Enum):
    """Progress of an actor; the values are descriptions for the user."""

    PLACING = "waiting for room on the cluster"
    PACKING = "waiting for the data to be packed"
    STARTING = "unpacking and starting"
    RUNNING = "running"


@dataclass
class _Slot:
    """One worker of the fleet and, after a crash or the loss of its machine, its successors."""

    place: int
    """Index of the worker in the fleet."""
    restarts: Restarts
    actor: Any | None = None
    """The worker's actor; None: there is none at the moment."""
    stage: _Stage = _Stage.PLACING
    call: Any | None = None
    """Ray's reference to the actor's pending answer."""
    node: NodeView | None = None
    """The actor's machine, once it is known."""
    worker: str | None = None
    """Name of the running worker."""
    crash_report: str = ""
    """Last log lines of the latest worker if it ended with an error."""


class RayFleet:
    """Workers on a Ray cluster; see `search.engines.interface.Fleet`.

    One actor per worker reserves the worker's resources and reports its state. A worker that ends with an error is
    restarted by the rules of `Restarts`; one that was lost with its machine is restarted immediately, as soon as the
    cluster has room. The actors end with this fleet, even if its process is killed, and a worker ends with its actor.
    """

    def __init__(
        self,
        command: WorkerCommand,
        workers: int,
        logs: Path,
        *,
        address: str | None = None,
        gpus_per_worker: float | None = None,
        cpus_per_worker: float | None = None,
        ship_data: bool = False,
        python: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            command: command of every worker. A machine without its data folder receives a copy of the local folder.
            logs: local folder for the crash reports of workers. The workers' logs stay on their machines.
            address: address of the cluster, see `search.engines.ray_cluster.connect`.
            gpus_per_worker: a whole number, or a fraction below 1 of a GPU that workers share. None: 1 if the cluster
                has GPUs when the fleet is entered, else 0.
            cpus_per_worker: above 0; also the number of threads of each worker, rounded down to 1 at least. None: the
                worker's share of the CPUs beside its GPUs (`search.engines.ray_cluster.fitting_cpus`), else 1.
            ship_data: send the data even to machines that have a folder of the same name.
            python: path of the workers' interpreter; None: the one that Ray uses on their machine.
            clock: monotonic time in seconds, for the pauses between restarts.

        Raises:
            EngineError: Ray does not support these numbers of GPUs or CPUs.
        """
        gpus = gpus_per_worker or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise EngineError(f"{gpus:g} GPUs a worker: give a whole number, or a part of one such as 0.5")
        if cpus_per_worker is not None and cpus_per_worker <= 0:
            raise EngineError(f"{cpus_per_worker:g} CPUs a worker: give a number above 0, such as 1")
        weights = command.weights
        # Absolute, since the actors have another working directory.
        self._command = replace(
            command,
            data=command.data.absolute(),
            home=command.home.absolute(),
            weights=None if weights is None else weights.absolute(),
        )
        self._crash_log = logs / "ray-workers.log"
        self._address = address
        self._gpus, self._cpus = gpus, cpus_per_worker or 1.0
        self._choose_gpus, self._choose_cpus = gpus_per_worker is None, cpus_per_worker is None
        self._ship_data = ship_data
        self._python = python
        self._actor_class: Any = None  # once connected
        self._slots = [_Slot(place=place, restarts=Restarts(clock)) for place in range(workers)]
        self._newly_dead: list[str] = []  # name prefixes
        self._stopping = False
        self._owns_connection = False
        self._packer = DataPacker(self._command.data, leave_out=(self._command.home, logs))

    def __enter__(self) -> RayFleet:
        """Connect, unless this process is connected already, and request the workers.

        Raises:
            EngineError: the cluster cannot be reached, or its versions of Ray and Python differ from this process's.
        """
        if not ray.is_initialized():
            connect(self._address)
            self._owns_connection = True
        if self._choose_gpus and ray.cluster_resources().get("GPU", 0.0) >= 1:
            self._gpus = 1.0
        if self._choose_cpus and self._gpus:
            self._cpus = fitting_cpus(ray.nodes(), self._gpus)
        self._actor_class = ray.remote(NodeWorker).options(
            num_cpus=self._cpus, num_gpus=self._gpus, scheduling_strategy="SPREAD"
        )
        self.poll()
        return self

    def __exit__(self, *exc: object) -> None:
        self._packer.cancel()
        self.ask_to_stop()
        self.wait(FAREWELL)
        self.kill()
        self._packer.close()
        if self._owns_connection:
            ray.shutdown()

    def poll(self) -> bool:
        """Process the actors' answers, and restart workers whose restart is due.

        Returns:
            Whether any worker lives, or waits for room or for its restart.

        Raises:
            ShippingError: the data has to be sent and cannot be packed.
        """
        self._exchange(ANSWERS_TIME)
        for slot in self._slots:
            if slot.actor is None and slot.restarts.due and not self._stopping:
                self._create_actor(slot)
        return any(
            slot.actor is not None or (slot.restarts.seconds_left is not None and not self._stopping)
            for slot in self._slots
        )

    def _create_actor(self, slot: _Slot) -> None:
        """Request an actor; it answers once Ray has placed it."""
        slot.actor = self._actor_class.remote()
        slot.stage, slot.node, slot.worker, slot.crash_report = _Stage.PLACING, None, None, ""
        slot.call = slot.actor.look.remote(self._command.data)
        slot.restarts.started()

    def _exchange(self, timeout: float) -> None:
        """Process the answers that arrive within ``timeout`` seconds, then call the actors without a pending call."""
        pending = {slot.call: slot for slot in self._slots if slot.call is not None}
        answered, _ = ray.wait(list(pending), num_returns=len(pending), timeout=timeout) if pending else ([], [])
        for call in answered:
            slot = pending[call]
            if slot.call is call:
                slot.call = None
                self._fetch(slot, call)
        for slot in self._slots:
            if slot.actor is not None and slot.call is None:
                self._call_next(slot, slot.actor)

    def _fetch(self, slot: _Slot, call: Any) -> None:
        """Fetch an answer, or the error in its place, and update the slot."""
        try:
            answer = ray.get(call, timeout=FETCH_TIME)
        except ActorUnavailableError as error:
            # The outage may be temporary, so a running worker is asked again. A start must not be requested twice.
            if slot.stage is not _Stage.RUNNING:
                self._handle_loss(slot, str(error))
        except RayActorError as error:
            self._handle_loss(slot, str(error))
        except RayTaskError as error:
            self._handle_end(slot, EXIT_BUG, f"could not be started: {error.cause or error}")
        except RayError as error:
            self._handle_loss(slot, str(error))
        else:
            self._handle_answer(slot, answer)

    def _handle_answer(self, slot: _Slot, answer: NodeView | WorkerStarted | WorkerState) -> None:
        match answer:
            case NodeView():
                slot.node = answer
                slot.stage = _Stage.STARTING if answer.has_data and not self._ship_data else _Stage.PACKING
            case WorkerStarted():
                slot.worker, slot.stage = answer.name, _Stage.RUNNING
                # `_create_actor` called this too early: the worker's life begins after the unpacking.
                slot.restarts.started()
            case WorkerState(code=None):
                pass
            case WorkerState(code=0):
                self._handle_end(slot, 0, "")
            case WorkerState(code=int(code), log_tail=log_tail):
                self._handle_end(slot, code, f"ended with exit code {code}; {log_tail}")

    def _call_next(self, slot: _Slot, actor: Any) -> None:
        """Start the actor's worker once its data is available, or ask for the worker's state."""
        if slot.stage is _Stage.RUNNING:
            slot.call = actor.poll.remote()
            return
        shipment = None
        if slot.stage is _Stage.PACKING:
            shipment = self._packer.shipment()
            if shipment is None:
                return
        seat = Seat(
            place=slot.place,
            threads=max(1, int(self._cpus)),
            cores=max(1, int(self._cpus)),
            has_gpu=self._gpus > 0,
            gpus=None if self._gpus else "",
            gpu_share=self._gpus if 0 < self._gpus < 1 else 1.0,
        )
        slot.stage = _Stage.STARTING
        slot.call = actor.begin.remote(self._command, seat, shipment, self._python)

    def _handle_loss(self, slot: _Slot, reason: str) -> None:
        """Handle the loss of an actor. Unless its machine is dead, the loss counts as a crash of the worker."""
        if slot.node is not None and not is_alive(slot.node.node_id):
            log.warning("worker %d is lost with its machine %s", slot.place, slot.node.host)
            self._remove_actor(slot)
            slot.restarts.lost()
        else:
            self._handle_end(slot, EXIT_BUG, f"is lost: {reason}")

    def _handle_end(self, slot: _Slot, code: int, report: str) -> None:
        """Handle the end of a worker, or its failure to start.

        Args:
            code: exit code of the worker.
            report: what happened; empty: the worker ended without an error.
        """
        if report:
            where = "" if slot.node is None else f" on {slot.node.host}"
            slot.crash_report = f"worker {slot.place}{where} {report}"
            self._log_crash(slot.crash_report)
        self._remove_actor(slot)
        slot.restarts.ended(code)

    def _log_crash(self, report: str) -> None:
        """Write a crash report to the local log, since the worker's own log may vanish with its machine."""
        try:
            self._crash_log.parent.mkdir(parents=True, exist_ok=True)
            rotate(self._crash_log)
            with self._crash_log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {report}\n")
        except OSError as error:
            log.warning("%s cannot be written: %s", self._crash_log, error)

    def _remove_actor(self, slot: _Slot) -> None:
        """Kill the slot's actor, and with it a worker that still lives, and release its resources."""
        actor, slot.actor, slot.call = slot.actor, None, None
        if slot.worker is not None:
            self._newly_dead.append(slot.worker)
            slot.worker = None
        if actor is not None:
            with suppress(RayError):
                ray.kill(actor)

    def waits_for(self) -> str:
        """What workers wait for: room on the cluster, the data, or their restart; empty if all run."""
        stages = Counter(slot.stage for slot in self._slots if slot.actor is not None)
        waits = [
            f"{stage.value}: {stages[stage]} of {len(self._slots)} workers"
            + (f" (CPUs each: {self._cpus:g}, GPUs: {self._gpus:g})" if stage is _Stage.PLACING else "")
            for stage in _Stage
            if stages[stage] and stage is not _Stage.RUNNING
        ]
        if not self._stopping:
            waits += [
                f"worker {slot.place} restarts in {left:.0f} s"
                for slot in self._slots
                if slot.actor is None and (left := slot.restarts.seconds_left) is not None
            ]
        return ", ".join(waits)

    def dead_workers(self) -> Collection[str]:
        """Name prefixes of the workers that have ended, or were lost with their machine, since the last call."""
        newly_dead, self._newly_dead = self._newly_dead, []
        return newly_dead

    def crash_report(self) -> str:
        """The last log lines of the workers that ended with an error; empty if there are none."""
        return "\n".join(slot.crash_report for slot in self._slots if slot.actor is None and slot.crash_report)

    def ask_to_stop(self) -> None:
        """Ask every worker to finish its epoch, write a checkpoint and end. No worker is restarted afterwards.

        Actors that still wait for room or data are removed.
        """
        self._stopping = True
        for slot in self._slots:
            if slot.actor is None:
                continue
            if slot.stage in (_Stage.PLACING, _Stage.PACKING):
                self._remove_actor(slot)
            else:
                # An actor executes its calls in order, so this one follows a start in progress.
                slot.actor.terminate.remote()

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds. Returns whether they have."""
        deadline = time.monotonic() + timeout
        while any(slot.actor is not None for slot in self._slots):
            self._exchange(min(ANSWERS_TIME, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                break
            time.sleep(WAITING_INTERVAL)
        return all(slot.actor is None for slot in self._slots)

    def kill(self) -> None:
        """Kill every worker."""
        self._stopping = True
        for slot in self._slots:
            self._remove_actor(slot)
