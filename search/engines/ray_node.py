"""The Ray actor that runs beside each worker on its machine: starts the worker and reports its state.

Every actor imports this module, so that it imports nothing heavy; Ray is imported in the methods.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path

from search.engines.interface import WorkerCommand
from search.engines.process import Seat, WorkerProcess
from search.engines.shipping import Shipment, unpack
from search.runtime.home import Home


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """The machine that Ray chose for an actor."""

    host: str
    node_id: str
    """Ray's identifier of the machine."""
    has_data: bool
    """Whether the data folder exists there under the same path."""


@dataclass(frozen=True, kw_only=True)
class WorkerStarted:
    """The worker was started."""

    name: str
    """Its name in the database."""


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """State of the worker process."""

    code: int | None
    """Exit code or negative signal number; None while the worker lives."""
    log_tail: str = ""
    """Last lines of its log if it ended with an error."""


class NodeWorker:
    """Actor class for one worker. The worker ends when the actor's process ends, for whatever reason."""

    def __init__(self) -> None:
        self._process: WorkerProcess | None = None

    def look(self, data: Path) -> NodeView:
        """Describe this machine.

        Args:
            data: path of the data folder on the sender's machine.
        """
        import ray

        node_id = ray.get_runtime_context().get_node_id()
        return NodeView(host=socket.gethostname(), node_id=node_id, has_data=data.is_dir())

    def begin(self, command: WorkerCommand, seat: Seat, shipment: Shipment | None, python: str | None) -> WorkerStarted:
        """Start the worker.

        Args:
            shipment: data to unpack and train on; None: the folder of ``command`` exists on this machine.
            python: path of the interpreter; None: the one of this actor.

        Raises:
            ShippingError, OSError: the worker was not started.
        """
        home = Home(root=command.home)
        if shipment is not None:
            import ray

            command = replace(command, data=unpack(shipment, home.shipped, ray.get))
        log = home.logs(command.study) / f"ray-{seat.place}.log"
        self._process = WorkerProcess(command, seat, log, python=python)
        return WorkerStarted(name=self._process.name)

    def poll(self) -> WorkerState:
        """The state of the worker."""
        process = self._process
        assert process is not None, "`begin` must be called first"
        code = process.poll()
        if code in (None, 0):
            return WorkerState(code=code)
        return WorkerState(code=code, log_tail=f"the end of {process.log} there:\n{process.log_tail()}")

    def terminate(self) -> None:
        """Ask the worker, if it was started, to release its trial and end."""
        if self._process is not None:
            self._process.terminate()
