"""Workers on a Ray cluster.

Ray finds room for them and tells when a machine is lost; everything else is as with any worker: each is a process
that takes its work from the database, so that a trial does not depend on Ray's memory of it.
"""

from __future__ import annotations

import enum
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from search.engines.interface import FAREWELL, EngineError, WorkerCommand
from search.engines.process import Seat, rotate
from search.engines.ray_node import Begun, NodeView, NodeWorker, Report
from search.engines.restarts import Restarts
from search.engines.shipping import Shipment, ShippingError, pack
from search.runtime.errors import EXIT_BUG

try:
    import ray
    from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
except ImportError as error:
    raise EngineError("the Ray engine needs the ray package: pip install -e '.[ray]'") from error

CONNECT_TIME = 5.0  # seconds for a cluster to answer at all
HEARING_TIME = 0.2  # seconds that a look at the workers may wait for answers; who does not answer is heard next time
ANSWER_TIME = 5.0  # seconds to fetch an answer that has arrived
WAITING_INTERVAL = 0.1  # seconds between looks while waiting for the end

log = logging.getLogger(__name__)


class _Stage(enum.Enum):
    PLACING = "waiting for room on the cluster"
    PACKING = "waiting for the data to be packed"
    BEGINNING = "unpacking and starting"
    RUNNING = "running"


@dataclass
class _Slot:
    place: int
    restarts: Restarts
    actor: Any | None = None
    """The worker's actor; None: there is none now."""
    stage: _Stage = _Stage.PLACING
    call: Any | None = None
    """What the actor was asked and has not answered yet."""
    node: NodeView | None = None
    name: str | None = None
    """How the running worker's name begins."""
    last_words: str = ""
    """Of the latest worker, where it ended with an error."""


class RayFleet:
    """Workers on a Ray cluster; see `search.engines.interface.Fleet`.

    One actor a worker holds the worker's room and answers for it. A worker that ends with an error is started again as
    `Restarts` says, one that went down with its machine at once, wherever there is room; until then it waits. Actors
    belong to this fleet and end with it, also when its process is killed; the workers then leave by themselves.
    """

    def __init__(
        self,
        command: WorkerCommand,
        workers: int,
        logs: Path,
        *,
        address: str | None = None,
        gpus_per_worker: float | None = None,
        cpus_per_worker: float = 1.0,
        ship_data: bool = False,
        python: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            command: what the workers are told. Where its data folder does not exist on a machine, the one here is sent.
            logs: folder here for what workers said last that ended with an error; their logs lie with them.
            address: the cluster, as ``ray.init`` takes it. None: the one that the environment or this machine knows,
                else one of this machine alone.
            gpus_per_worker: a whole number, or a part of one GPU that workers share. None: one where the cluster has
                GPUs when the fleet is entered, else none.
            ship_data: send the data even to machines that have a folder of that name.
            python: interpreter of the workers; default: the one that Ray runs with over there.
            clock: what the pauses between restarts are measured with, in seconds.

        Raises:
            EngineError: numbers that Ray cannot grant.
        """
        gpus = gpus_per_worker or 0.0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise EngineError(f"{gpus:g} GPUs a worker: give a whole number, or a part of one such as 0.5")
        if cpus_per_worker <= 0:
            raise EngineError(f"{cpus_per_worker:g} CPUs a worker: a worker needs some, such as 1")
        weights = command.weights
        # Relative names mean nothing to other machines.
        self._command = replace(
            command,
            data=command.data.absolute(),
            home=command.home.absolute(),
            weights=None if weights is None else weights.absolute(),
        )
        self._log = logs / "ray-workers.log"
        self._address = address
        self._gpus, self._cpus = gpus, cpus_per_worker
        self._choose_gpus = gpus_per_worker is None
        self._ship_data = ship_data
        self._python = python
        self._actors: Any = None  # what Ray makes actors from, once it is connected
        self._slots = [_Slot(place=place, restarts=Restarts(clock)) for place in range(workers)]
        self._buried: list[str] = []
        self._stopping = False
        self._is_own_connection = False
        self._packer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="packing")
        self._packing: Future[Shipment] | None = None
        self._left = Event()

    def __enter__(self) -> RayFleet:
        """Connect, unless the process is connected already, and ask for the workers.

        Raises:
            EngineError: the cluster cannot be reached, or runs other versions than this process.
        """
        if not ray.is_initialized():
            _connect(self._address)
            self._is_own_connection = True
        if self._choose_gpus and ray.cluster_resources().get("GPU", 0.0) >= 1:
            self._gpus = 1.0
        self._actors = ray.remote(NodeWorker).options(
            num_cpus=self._cpus, num_gpus=self._gpus, scheduling_strategy="SPREAD"
        )
        self.poll()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self.ask_to_stop()
        self.wait(FAREWELL)
        self.kill()
        self._packer.shutdown(wait=True, cancel_futures=True)
        self._packing = None  # lets the cluster forget the data
        if self._is_own_connection:
            ray.shutdown()

    def poll(self) -> bool:
        """Hear how the workers do, and start those again that are due. Returns whether any worker lives, or waits for
        room or for its restart.

        Raises:
            ShippingError: the data has to be sent and cannot be read.
        """
        self._hear_all(HEARING_TIME)
        for slot in self._slots:
            if slot.actor is None and slot.restarts.due and not self._stopping:
                self._place(slot)
        return any(
            slot.actor is not None or (slot.restarts.seconds_left is not None and not self._stopping)
            for slot in self._slots
        )

    def _place(self, slot: _Slot) -> None:
        """Ask Ray for room for a worker."""
        slot.actor = self._actors.remote()
        slot.stage, slot.node, slot.name, slot.last_words = _Stage.PLACING, None, None, ""
        slot.call = slot.actor.look.remote(self._command.data)
        slot.restarts.started()

    def _hear_all(self, timeout: float) -> None:
        """Take the answers that have arrived, within ``timeout`` seconds, and ask on."""
        asked = {slot.call: slot for slot in self._slots if slot.call is not None}
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout) if asked else ([], [])
        for call in answered:
            slot = asked[call]
            if slot.call is call:
                slot.call = None
                self._hear(slot, call)
        for slot in self._slots:
            if slot.actor is not None and slot.call is None:
                self._ask(slot, slot.actor)

    def _hear(self, slot: _Slot, call: Any) -> None:
        try:
            answer = ray.get(call, timeout=ANSWER_TIME)
        except ActorUnavailableError as error:
            # Out of reach for a moment, or for good: Ray will say which. Only a start must not be asked for twice.
            if slot.stage is not _Stage.RUNNING:
                self._lose(slot, str(error))
        except RayActorError as error:
            self._lose(slot, str(error))
        except RayTaskError as error:
            self._end(slot, EXIT_BUG, f"could not be started: {error.cause or error}")
        except RayError as error:
            self._lose(slot, str(error))
        else:
            self._take_answer(slot, answer)

    def _take_answer(self, slot: _Slot, answer: NodeView | Begun | Report) -> None:
        match answer:
            case NodeView():
                slot.node = answer
                slot.stage = _Stage.BEGINNING if answer.has_data and not self._ship_data else _Stage.PACKING
            case Begun():
                slot.name, slot.stage = answer.name, _Stage.RUNNING
                # Only now: unpacking may have taken long, and a life is the worker's own.
                slot.restarts.started()
            case Report(code=None):
                pass
            case Report(code=0):
                self._end(slot, 0, "")
            case Report(code=int(code), last_words=last_words):
                self._end(slot, code, f"ended with exit code {code}; {last_words}")

    def _ask(self, slot: _Slot, actor: Any) -> None:
        """Ask an actor what comes next."""
        if slot.stage is _Stage.RUNNING:
            slot.call = actor.poll.remote()
            return
        shipment = None
        if slot.stage is _Stage.PACKING:
            shipment = self._shipment()
            if shipment is None:
                return
        seat = Seat(
            place=slot.place,
            threads=max(1, int(self._cpus)),
            gpus=None if self._gpus else "",
            gpu_share=self._gpus if 0 < self._gpus < 1 else 1.0,
        )
        slot.stage = _Stage.BEGINNING
        slot.call = actor.begin.remote(self._command, seat, shipment, self._python)

    def _shipment(self) -> Shipment | None:
        """The packed data, or None while it is being packed: once for all machines, and beside everything else."""
        if self._packing is None:
            self._packing = self._packer.submit(
                pack, self._command.data, self._put, leave_out=(self._command.home, self._log.parent)
            )
        return self._packing.result() if self._packing.done() else None

    def _put(self, chunk: bytes) -> Any:
        if self._left.is_set():
            raise ShippingError("the workers were ended while the data was being packed")
        try:
            return ray.put(chunk)
        except RayError as error:
            raise ShippingError(f"the data finds no room on the cluster: {error}") from error

    def _lose(self, slot: _Slot, reason: str) -> None:
        """An actor is gone: with its machine, or alone, which is as bad as a crash of its worker."""
        if slot.node is not None and not _is_alive(slot.node.node_id):
            log.warning("worker %d is lost with its machine %s", slot.place, slot.node.host)
            self._retire(slot)
            slot.restarts.lost()
        else:
            self._end(slot, EXIT_BUG, f"is lost: {reason}")

    def _end(self, slot: _Slot, code: int, last_words: str) -> None:
        """A worker has ended, or could not be started."""
        if last_words:
            where = "" if slot.node is None else f" on {slot.node.host}"
            slot.last_words = f"worker {slot.place}{where} {last_words}"
            self._note(slot.last_words)
        self._retire(slot)
        slot.restarts.ended(code)

    def _note(self, text: str) -> None:
        """Keep what a worker said last: its machine may be gone when somebody wants to know."""
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            rotate(self._log)
            with self._log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError as error:
            log.warning("%s cannot be written: %s", self._log, error)

    def _retire(self, slot: _Slot) -> None:
        """Give the room of a worker back; a worker that still lives there is killed."""
        actor, slot.actor, slot.call = slot.actor, None, None
        if slot.name is not None:
            self._buried.append(slot.name)
            slot.name = None
        if actor is not None:
            with suppress(RayError):
                ray.kill(actor)

    def waits_for(self) -> str:
        """What workers wait for: room on the cluster, the data, their restart; empty where all run."""
        stages = Counter(slot.stage for slot in self._slots if slot.actor is not None)
        waits = [
            f"{stage.value}: {stages[stage]} of {len(self._slots)} workers"
            + (f" (CPUs each: {self._cpus:g}, GPUs: {self._gpus:g})" if stage is _Stage.PLACING else "")
            for stage in _Stage
            if stages[stage] and stage is not _Stage.RUNNING
        ]
        if not self._stopping:
            waits += [
                f"worker {slot.place} starts again in {left:.0f} s"
                for slot in self._slots
                if slot.actor is None and (left := slot.restarts.seconds_left) is not None
            ]
        return ", ".join(waits)

    def dead_workers(self) -> Collection[str]:
        """Beginnings of the names of workers that have ended or were lost with their machine, each told once."""
        dead_workers, self._buried = self._buried, []
        return dead_workers

    def crash_report(self) -> str:
        """What the workers said last that ended with an error; empty where none did."""
        return "\n".join(slot.last_words for slot in self._slots if slot.actor is None and slot.last_words)

    def ask_to_stop(self) -> None:
        """Tell every worker to finish its epoch, write a checkpoint and leave; who still waits for room waits no
        longer. None is started again.
        """
        self._stopping = True
        for slot in self._slots:
            if slot.actor is None:
                continue
            if slot.stage in (_Stage.PLACING, _Stage.PACKING):
                self._retire(slot)
            else:
                # An actor does one thing after another: this comes after a start that is under way.
                slot.actor.terminate.remote()

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds; whether they have."""
        deadline = time.monotonic() + timeout
        while any(slot.actor is not None for slot in self._slots):
            self._hear_all(min(HEARING_TIME, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                break
            time.sleep(WAITING_INTERVAL)
        return all(slot.actor is None for slot in self._slots)

    def kill(self) -> None:
        """End every worker at once."""
        self._stopping = True
        for slot in self._slots:
            self._retire(slot)


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    known = address or os.environ.get("RAY_ADDRESS")
    where = f"at {known}" if known else "of this machine"
    try:
        if known:
            _knock(known)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except ImportError as error:
        raise EngineError(f"a cluster {where} is reached by Ray's client: pip install 'ray[client]'") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineError(f"the Ray cluster {where} cannot be used: {error}") from error
    # Ray has no switch for what it prints once a machine is lost: thirty lines of its state, amid our progress. We say
    # it in one.
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = False


def _knock(address: str) -> None:
    """Raise OSError if nobody answers: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIME).close()


def _is_alive(node_id: str) -> bool:
    """Whether a machine is still part of the cluster; not, where Ray itself cannot say."""
    try:
        return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
    except (RayError, ConnectionError, RuntimeError):
        return False
