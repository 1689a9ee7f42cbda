"""Where everything lies that is not in the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folder ``./retable``: exports in one folder a study, everything that can be made again under ``.cache``.

    Study names never begin with a dot, so the two cannot meet.
    """

    root: Path = Path("retable")

    @property
    def pixels(self) -> Path:
        """Decoded images, memory-mapped by all workers of this host."""
        return self.root / ".cache" / "pixels"

    @property
    def artifacts(self) -> Path:
        """Checkpoints and the weights of refits; put it on a shared disk to let one host continue another's trial."""
        return self.root / ".cache" / "artifacts"

    @property
    def samples(self) -> Path:
        """Competitions that ship with Retable, written out."""
        return self.root / "data"

    def logs(self, study: str) -> Path:
        """What the local workers of a study print."""
        return self.root / ".cache" / "logs" / study

    def exports(self, study: str) -> Path:
        """Where ``export-best`` writes unless told otherwise."""
        return self.root / study
