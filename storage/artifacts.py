"""Files beside the database: checkpoints, model weights, and images for the dashboard."""

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
    """A checkpoint file in the folder of this host."""

    study: str
    work_id: int
    path: Path
    size: int
    """Bytes."""
    modified: float
    """Unix seconds on the clock of the host that wrote the file."""


class ArtifactFolder:
    """A folder tree with the files of all studies.

        checkpoints/STUDY/WORK_ID/checkpoint.pt
        weights/STUDY/WORK_ID/
        pictures/

    `safe_name` turns study names into folder names, so that no name leads out of the tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def checkpoint(self, study: str, work_id: int) -> Path:
        """The path of a work item's checkpoint, which need not exist. Creates its folder."""
        folder = self._checkpoint_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "checkpoint.pt"

    def remove_checkpoint(self, study: str, work_id: int) -> None:
        """Remove a work item's checkpoint and leftovers of interrupted writes, if there are any.

        Only the worker that holds the item may call this.

        Raises:
            OSError: they cannot be removed.
        """
        folder = self._checkpoint_folder(study, work_id)
        if folder.exists():
            shutil.rmtree(folder)

    def checkpoints(self, study: str) -> list[Checkpoint]:
        """The checkpoints of a study in this folder."""
        folder = self.root / "checkpoints" / safe_name(study)
        found = []
        for path in folder.glob("*/checkpoint.pt"):
            if not path.parent.name.isdigit():
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:  # the trial ended and its worker removed the checkpoint
                continue
            found.append(
                Checkpoint(
                    study=study, work_id=int(path.parent.name), path=path, size=stat.st_size, modified=stat.st_mtime
                )
            )
        return found

    def weights(self, study: str, work_id: int) -> Path:
        """The folder for the weights of a training's fold models. Creates it."""
        folder = self._weights_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept_weights(self, study: str, work_id: int) -> list[Path]:
        """The weight files of a training's fold models, by fold; empty if this folder has none."""
        return sorted(self._weights_folder(study, work_id).glob("fold*.safetensors"))

    def remove_weights(self, study: str, work_id: int) -> None:
        """Remove the weights of a training's fold models, if there are any.

        Raises:
            OSError: they cannot be removed.
        """
        folder = self._weights_folder(study, work_id)
        if folder.exists():
            shutil.rmtree(folder)

    def pictures(self) -> FileSystemArtifactStore:
        """Optuna's artifact store, for the dashboard and `optuna.artifacts.upload_artifact`. Creates its folder."""
        from optuna.artifacts import FileSystemArtifactStore

        folder = self.root / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        return FileSystemArtifactStore(folder)

    def _checkpoint_folder(self, study: str, work_id: int) -> Path:
        return self.root / "checkpoints" / safe_name(study) / str(int(work_id))

    def _weights_folder(self, study: str, work_id: int) -> Path:
        return self.root / "weights" / safe_name(study) / str(int(work_id))


def safe_name(name: str) -> str:
    """A file name for any text; different texts get different names.

    A text of at most 80 characters out of a-z, A-Z, 0-9, ``_``, ``-`` and inner dots is its own file name. In other
    texts all further characters are replaced, and a hash of the text is appended.
    """
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_NAME_LIMIT].strip(".")
    if name and cleaned == name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{cleaned}-{digest[:12]}"
