"""Where everything lies that is not in the database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from search.runtime.errors import SearchError
from trainer.common.files import replacing


class HomeNotWritable(SearchError):
    """There is no room or no permission for what is not in the database."""


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
    def shipped(self) -> Path:
        """Images that an engine brought to this host."""
        return self.root / ".cache" / "data"

    def identity(self) -> str:
        """What tells this folder from all others, also where several hosts share it; made when first asked for.

        Raises:
            HomeNotWritable: the folder cannot be written to.
        """
        file = self.root / ".cache" / "identity"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_suffix(".lock")):
                if not file.exists():
                    with replacing(file) as temporary:
                        temporary.write_text(uuid.uuid4().hex, encoding="ascii")
            return file.read_text(encoding="ascii")
        except OSError as error:
            raise HomeNotWritable(
                f"{self.root} cannot be written to ({error.strerror or error}); "
                "--home or RETABLE_HOME names another folder for checkpoints and exports"
            ) from error

    @property
    def samples(self) -> Path:
        """Competitions that ship with Retable, written out."""
        return self.root / "data"

    @property
    def measurements(self) -> Path:
        """How fast backbones train, on the machines that share this folder."""
        return self.root / ".cache" / "measurements.json"

    def logs(self, study: str) -> Path:
        """What the local workers of a study print."""
        return self.root / ".cache" / "logs" / study

    def exports(self, study: str) -> Path:
        """Where ``export-best`` writes unless told otherwise."""
        return self.root / study
