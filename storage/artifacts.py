"""Files beside the database: checkpoints, model weights, and images for the dashboard."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore

_IDENTITY_DIGITS = 12
_NAME_LIMIT = 80  # characters; file systems allow 255 bytes


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The checkpoint of a work item in the folder of this host, with the files of its teachers, if it has some."""

    study: str
    work_id: int
    path: Path
    """Of `ArtifactFolder.checkpoint`, or of another file while there is none."""
    size: int
    """Bytes of all files."""
    modified: float
    """When the latest was written: Unix seconds on the clock of this host."""


class ArtifactFolder:
    """A folder tree with the files of all studies.

        checkpoints/STUDY@DATABASE/WORK_ID/checkpoint.pt, teacher-0-1.pt ...
        weights/STUDY@DATABASE/WORK_ID/fold0.safetensors ...
        galleries/STUDY@DATABASE/gallery.json
        pictures/

    `safe_name` turns study names into folder names, so that no name leads out of the tree. DATABASE is the beginning of
    the database's identity, because databases that share a home may have studies of the same name.

    Args:
        identity: of the database (`storage.database.connection.Database.identity`). Empty: the layout of earlier
            releases, without ``@DATABASE``.
    """

    def __init__(self, root: Path, identity: str = "") -> None:
        self.root = root
        self._suffix = f"@{identity[:_IDENTITY_DIGITS]}" if identity else ""

    @property
    def earlier(self) -> ArtifactFolder:
        """The same tree in the layout of earlier releases."""
        return ArtifactFolder(self.root)

    def checkpoint(self, study: str, work_id: int) -> Path:
        """The path of a work item's checkpoint, which need not exist. Creates its folder."""
        folder = self._checkpoint_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "checkpoint.pt"

    def has_checkpoint(self, study: str, work_id: int) -> bool:
        """Whether a training of a work item, or one that it needs first, can be continued from a checkpoint."""
        return any(self._checkpoint_folder(study, work_id).glob("*.pt"))

    def remove_checkpoint(self, study: str, work_id: int) -> None:
        """Remove a work item's checkpoint and leftovers of interrupted writes, if there are any.

        Only the worker that holds the item may call this.

        Raises:
            OSError: they cannot be removed.
        """
        folder = self._checkpoint_folder(study, work_id)
        if folder.exists():
            shutil.rmtree(folder)

    def folder_of(self, study: str, kind: str) -> Path:
        """The folder with the files of a study, which need not exist.

        Args:
            kind: "checkpoints", "weights" or "galleries".
        """
        return self._study_folder(kind, study)

    def checkpoints(self, study: str) -> list[Checkpoint]:
        """The checkpoints of a study in this folder."""
        folder = self._study_folder("checkpoints", study)
        files: dict[int, list[tuple[Path, os.stat_result]]] = {}
        for path in sorted(folder.glob("*/*.pt")):  # checkpoint.pt before the teachers'
            if not path.parent.name.isdigit():
                continue
            try:
                files.setdefault(int(path.parent.name), []).append((path, path.stat()))
            except FileNotFoundError:  # the trial ended and its worker removed the checkpoint
                continue
        return [
            Checkpoint(
                study=study,
                work_id=work_id,
                path=found[0][0],
                size=sum(stat.st_size for _, stat in found),
                modified=max(stat.st_mtime for _, stat in found),
            )
            for work_id, found in files.items()
            if found
        ]

    def weights(self, study: str, work_id: int) -> Path:
        """The folder for the weights of a training's fold models. Creates it."""
        folder = self._weights_folder(study, work_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept_weights(self, study: str, work_id: int) -> list[Path]:
        """The weight files of a training's fold models, by fold; empty if this folder has none."""
        return sorted(self._weights_folder(study, work_id).glob("fold*.safetensors"))

    def digests(self, study: str, work_id: int) -> dict[str, str]:
        """SHA-256 (hex) of each of `kept_weights`, by its path in this tree.

        Raises:
            OSError: a file cannot be read.
        """
        files = self.kept_weights(study, work_id)
        return {file.relative_to(self.root).as_posix(): digest_of(file) for file in files}

    def verified(self, networks: Mapping[str, str]) -> list[Path] | None:
        """The files of `digests` that a record holds, by fold; None if one is missing, unreadable or changed."""
        files = sorted(self.root / name for name in networks)
        try:
            unchanged = all(digest_of(file) == networks[file.relative_to(self.root).as_posix()] for file in files)
        except OSError:
            return None
        return files if unchanged else None

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
        return self._study_folder("checkpoints", study) / str(int(work_id))

    def _weights_folder(self, study: str, work_id: int) -> Path:
        return self._study_folder("weights", study) / str(int(work_id))

    def _study_folder(self, kind: str, study: str) -> Path:
        return self.root / kind / f"{safe_name(study)}{self._suffix}"


def digest_of(file: Path) -> str:
    """SHA-256 (hex) of a file. It is computed again only if size, time or inode have changed.

    Raises:
        OSError: the file cannot be read.
    """
    stat = file.stat()
    return _digest(file, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest(file: Path, _inode: int, _size: int, _modified: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


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
