"""The home folder: everything that a search keeps outside the database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from search.runtime.errors import SearchError
from storage.artifacts import safe_name
from trainer.common.files import replacing


class HomeNotWritable(SearchError):
    """The home folder cannot be written to: no permission or no space."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """Paths in the home folder, by default ``./retable``.

    It holds one folder of exports per study, and ``.cache`` with everything that can be made again. Study names never
    begin with a dot, so that they cannot collide with ``.cache``.
    """

    root: Path = Path("retable")

    @property
    def pixels(self) -> Path:
        """Decoded images, memory-mapped by all workers of this host."""
        return self.root / ".cache" / "pixels"

    @property
    def features(self) -> Path:
        """Features of all images by frozen backbones (`trainer.probing.features`), shared like `pixels`."""
        return self.root / ".cache" / "features"

    @property
    def artifacts(self) -> Path:
        """Checkpoints and model weights. On a shared disk, one host can continue another's trial."""
        return self.root / ".cache" / "artifacts"

    @property
    def shipped(self) -> Path:
        """Data folders that an engine copied to this host."""
        return self.root / ".cache" / "data"

    def identity(self) -> str:
        """A unique identifier of this folder, the same on all hosts that share it; created at the first call.

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
        """Sample data sets that ship with Retable, written as folders of images."""
        return self.root / "data"

    @property
    def weights(self) -> Path:
        """Registered weights (`trainer.formats.weights.description`), unless ``--weights`` names another folder."""
        return self.root / "weights"

    @property
    def measurements(self) -> Path:
        """Measured training speed and memory of backbones, on the machines that share this folder."""
        return self.root / ".cache" / "measurements.json"

    def logs(self, study: str) -> Path:
        """Folder of the logs of a study's workers."""
        return self.root / ".cache" / "logs" / safe_name(study)

    def exports(self, study: str) -> Path:
        """Default folder of ``export-best``."""
        return self.root / safe_name(study)
