"""What every engine offers: worker processes somewhere, looked after from here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from search.runtime.errors import SearchError

FAREWELL = 10.0  # seconds that idle workers have to leave by themselves when their fleet is left


class EngineError(SearchError):
    """An engine cannot run workers as it was asked to; the message says what would help."""


@dataclass(frozen=True, kw_only=True)
class WorkerCommand:
    """What every worker of a fleet is told. The database URL travels in the environment, never in a process title."""

    study: str
    storage_url: str = field(repr=False)
    """It may hold a password, so no log and no traceback shows it."""
    data: Path
    home: Path
    weights: Path | None = None
    options: tuple[str, ...] = ()
    """Further arguments of `search worker`, as on the command line."""

    def arguments(self) -> list[str]:
        """The arguments of ``search``."""
        arguments = ["worker", "--study", self.study, "--data", str(self.data), "--home", str(self.home)]
        if self.weights is not None:
            arguments += ["--weights", str(self.weights)]
        return [*arguments, *self.options]


class Fleet(Protocol):
    """Workers that were started together. A context manager: entered, it starts them; left, none is left behind.

    No method but `wait` takes long, whatever became of the workers or of the machines they run on.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def poll(self) -> bool:
        """Start lost workers again, where that may help and once it is time to. Returns whether any worker lives or is
        about to.

        Raises:
            EngineError: no worker can ever work, for a reason that a person has to mend.
        """

    def waits_for(self) -> str:
        """What keeps workers from working, such as ``worker 1 starts again in 8 s``; empty where nothing does."""

    def dead_workers(self) -> Collection[str]:
        """Beginnings of the names (``HOST-PID-``) of workers that are dead, or cut off with their machine, each told
        once: what they held may be handed on at once.
        """

    def crash_report(self) -> str:
        """What the workers that ended with an error said last; empty where none did."""

    def ask_to_stop(self) -> None:
        """Ask every worker to hand its trial back and leave. None is started again after this."""

    def wait(self, timeout: float) -> bool:
        """Wait until all workers have ended, at most ``timeout`` seconds; whether they have."""

    def kill(self) -> None:
        """End every worker at once. May be called from a signal handler."""
