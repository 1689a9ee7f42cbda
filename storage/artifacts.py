"""Files beside the database: checkpoints, refitted weights, and pictures for the dashboard."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore

_NAME_LIMIT = 80  # characters; file systems allow 255 bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on this host."""

    study: str
    work_id: int
    path: Path
    size: int
    """Bytes."""
    modified: float
    """Unix seconds on the clock of the host that wrote it."""


class ArtifactFolder:
    """A folder tree, by study and work item.

        checkpoints/STUDY/WORK_ID/checkpoint.pt
        weights/STUDY/WORK_ID/
        pictures/

    Study names become folder names by `safe_name`, so none leads out of the tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def checkpoint(self, study: str, work_id: int) -> Path:
        """Where the checkpoint of a work item lies or will lie; its folder is created."""
        folder = self._checkpoint_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "checkpoint.pt"

    def remove_checkpoint(self, study: str, work_id: int) -> None:
        """Remove the checkpoint and what an interrupted write left beside it. Only the item's holder may do that.

        Raises:
            OSError: something is there and cannot be removed.
        """
        folder = self._checkpoint_folder(study, work_id)
        if folder.exists():
            shutil.rmtree(folder)

    def checkpoints(self, study: str) -> list[Checkpoint]:
        """The checkpoints of a study that are here."""
        folder = self.root / "checkpoints" / safe_name(study)
        found = []
        for path in folder.glob("*/checkpoint.pt"):
            if not path.parent.name.isdigit():
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:  # its trial ended right now
                continue
            found.append(
                Checkpoint(
                    study=study, work_id=int(path.parent.name), path=path, size=stat.st_size, modified=stat.st_mtime
                )
            )
        return found

    def weights(self, study: str, work_id: int) -> Path:
        """The folder of the fold models of a training, created."""
        folder = self._weights_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept_weights(self, study: str, work_id: int) -> list[Path]:
        """The fold models that are here, by fold; none where they were never kept here."""
        return sorted(self._weights_folder(study, work_id).glob("fold*.safetensors"))

    def remove_weights(self, study: str, work_id: int) -> None:
        """Remove the fold models of a training, if they are here.

        Raises:
            OSError: something is there and cannot be removed.
        """
        folder = self._weights_folder(study, work_id)
        if folder.exists():
            shutil.rmtree(folder)

    def _weights_folder(self, study: str, work_id: int) -> Path:
        return self.root / "weights" / safe_name(study) / str(int(work_id))

    def pictures(self) -> FileSystemArtifactStore:
        """Optuna's artifact store, as the dashboard and `optuna.artifacts.upload_artifact` want it."""
        from optuna.artifacts import FileSystemArtifactStore

        folder = self.root / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        return FileSystemArtifactStore(folder)

    def _checkpoint_folder(self, study: str, work_id: int) -> Path:
        return self.root / "checkpoints" / safe_name(study) / str(int(work_id))


def safe_name(name: str) -> str:
    """A file name for any text: itself if it is short and consists of a-z, A-Z, 0-9, ``_``, ``-`` and inner dots.

    Anything else is replaced and a hash of the text is added, so that different texts get different names.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_NAME_LIMIT].strip(".")
    if name and plain == name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain}-{digest[:12]}"
