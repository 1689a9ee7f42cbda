"""What runs on a machine of a Ray cluster beside each worker: the actor that starts the worker and answers for it.

Ray is imported in the methods, and nothing heavy at all: this module is loaded by every actor.
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
    """What an actor found where Ray put it."""

    host: str
    node_id: str
    has_data: bool


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A worker runs."""

    name: str
    """How its name in the database begins."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a worker does."""

    code: int | None
    """Its exit code or negative signal number; None while it lives."""
    last_words: str = ""
    """The end of its log, once it ended with an error."""


class NodeWorker:
    """One worker on one machine. The worker leaves when this actor's process ends, for whatever reason."""

    def __init__(self) -> None:
        self._process: WorkerProcess | None = None

    def look(self, data: Path) -> NodeView:
        """Where this is, and whether the data lies here under the path that it has with the sender."""
        import ray

        node_id = ray.get_runtime_context().get_node_id()
        return NodeView(host=socket.gethostname(), node_id=node_id, has_data=data.is_dir())

    def begin(self, command: WorkerCommand, seat: Seat, shipment: Shipment | None, python: str | None) -> Begun:
        """Start the worker, on the shipped data where a shipment is given.

        Raises:
            ShippingError, OSError: it was not started.
        """
        home = Home(root=command.home)
        if shipment is not None:
            import ray

            command = replace(command, data=unpack(shipment, home.shipped, ray.get))
        log = home.logs(command.study) / f"ray-{seat.place}.log"
        self._process = WorkerProcess(command, seat, log, python=python)
        return Begun(name=self._process.name)

    def poll(self) -> Report:
        """How the worker does."""
        process = self._process
        assert process is not None, "begin comes first"
        code = process.poll()
        if code in (None, 0):
            return Report(code=code)
        return Report(code=code, last_words=f"the end of {process.log} there:\n{process.last_words()}")

    def terminate(self) -> None:
        """Ask the worker, if there is one, to hand its trial back and leave."""
        if self._process is not None:
            self._process.terminate()
