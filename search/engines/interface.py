"""Interface of an engine: the command that its workers run, and the fleet that starts, restarts and ends them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from search.runtime.errors import SearchError
from search.tracking.options import TrackingOptions

FAREWELL = 10.0  # seconds that workers have to end by themselves when their fleet is closed


class EngineError(SearchError):
    """An engine cannot run workers as requested; the message names the remedy."""


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """The command of every worker of a fleet, and the database URL, which travels in the environment."""

    study: str
    storage_url: str = field(repr=False)
    """It may hold a password: never part of the arguments, of a log or of a traceback."""
    data: Path
    """Folder of images."""
    home: Path
    """Home folder, see `search.runtime.home`."""
    weights: Path | None = None
    """Folder of pre-trained weights."""
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    """What else records the trainings; travels in the environment, too."""
    options: tuple[str, ...] = ()
    """Further arguments of `search worker`."""

    def arguments(self) -> list[str]:
        """The arguments of the program ``search``."""
        arguments = ["worker", "--study", self.study, "--data", str(self.data), "--home", str(self.home)]
        if self.weights is not None:
            arguments += ["--weights", str(self.weights)]
        return [*arguments, *self.options]


class Fleet(Protocol):
    """A group of workers. A context manager: entering starts them, leaving ends them all.

    Only `wait` may block for long, even if workers or their machines are gone.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def poll(self) -> bool:
        """Restart the dead workers whose restart is due (`search.engines.restarts`).

        Returns:
            Whether any worker lives or will be started.

        Raises:
            EngineError: no worker can run until the user removes the cause.
        """

    def waits_for(self) -> str:
        """What workers wait for, such as ``worker 1 restarts in 8 s``; empty if all run."""

    def dead_workers(self) -> Collection[str]:
        """Names of the workers that died, or were lost with their machine, since the last call.

        Their work items can be released immediately.
        """

    def crash_report(self) -> str:
        """The last log lines of the workers that ended with an error; empty if there are none."""

    def ask_to_stop(self) -> None:
        """Ask every worker to release its trial and end. No worker is restarted afterwards."""

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds. Returns whether they have."""

    def kill(self) -> None:
        """Kill every worker. May be called from a signal handler."""
