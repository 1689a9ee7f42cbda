"""The manifest of an export: a file in its folder that names every file that Retable wrote, with its SHA-256.

It decides what a new export may replace. A file that it does not name, or whose content has another digest, belongs to
the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from search.runtime.errors import SearchError
from storage.artifacts import digest_of
from trainer.common.files import replacing
from trainer.conversion.files import FOLDERS, SCRATCH, SINGLE_FOLDER, converted_files
from trainer.inference.networks.onnx_networks import INDEX

MANIFEST = ".retable-export.json"
MODEL = "model"
SUBMISSION = "submission.csv"
NAMES = (
    *(SUBMISSION, "test_proba.csv", "oof.csv", "folds.csv"),
    *("confusion_matrix.png", "label_scores.csv", "MODEL_CARD.md", MODEL),
)
"""Everything that an export may hold, beside its manifest."""

SHOWN = 4  # files of other origin that a message names
_FORMAT = 1
_LIMIT = 2**24  # bytes of a manifest


class OutputNotOurs(SearchError):
    """The folder holds files of other origin under names that an export needs. Nothing was changed."""

    def __init__(self, folder: Path, problems: Sequence[str]) -> None:
        more = f" and {len(problems) - SHOWN} more" * (len(problems) > SHOWN)
        super().__init__(
            f"{folder} holds what no export wrote: {'; '.join(problems[:SHOWN])}{more}. It is left alone: move it "
            "away, or name another folder with --output"
        )


class OutputKind(StrEnum):
    """What a folder holds."""

    PROVISIONAL = "provisional"
    """A submission of the best trial so far."""
    EXPORT = "export"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What Retable wrote into a folder."""

    kind: OutputKind
    database: str
    """Identity of the database."""
    study: str
    files: Mapping[str, tuple[str, ...]]
    """Path in the folder -> possible SHA-256 (hex). Two, while a file is being replaced."""

    @property
    def names(self) -> set[str]:
        """The entries of the folder, a subset of `NAMES`."""
        return {PurePosixPath(name).parts[0] for name in self.files}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in ``folder``; None if there is none, or if it is not valid."""
    path = folder / MANIFEST
    try:
        if path.is_symlink() or path.stat().st_size > _LIMIT:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return _parse(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def provisional_submission(folder: Path) -> Path | None:
    """The submission of the best trial so far, which ``search start`` writes before the first export; None: none."""
    manifest, path = read_manifest(folder), folder / SUBMISSION
    return path if manifest is not None and manifest.kind is OutputKind.PROVISIONAL and path.is_file() else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of ``folder``, replacing an older one."""
    content = {
        "made_by": "retable",
        "format": _FORMAT,
        "kind": manifest.kind.value,
        "database": manifest.database,
        "study": manifest.study,
        "files": {name: list(digests) for name, digests in sorted(manifest.files.items())},
    }
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def manifest_of(folder: Path, *, database: str, study: str) -> Manifest:
    """The manifest of the export in ``folder``, with the digests of all its files."""
    paths = [path for name in NAMES for path in (folder / name, *sorted((folder / name).rglob("*")))]
    files = {
        path.relative_to(folder).as_posix(): (digest_of(path),)
        for path in paths
        if path.is_file() and not path.is_symlink() and not is_compiled(path)
    }
    return Manifest(kind=OutputKind.EXPORT, database=database, study=study, files=files)


def foreign_entries(folder: Path, name: str, *manifests: Manifest) -> Iterator[str]:
    """Why the entry ``name`` of ``folder`` may not be replaced: a line for each file that none of the manifests names.

    Compiled Python files, which a run of ``predict.py`` leaves, do not count, nor what ``search convert`` and
    ``search single`` wrote.
    """
    path = folder / name
    if path.is_symlink():
        yield f"{name} is a link"
    elif path.is_dir() and name == MODEL:
        for inner in sorted(path.rglob("*")):
            shown = inner.relative_to(folder).as_posix()
            if inner.is_symlink():
                yield f"{shown} is a link"
            elif not inner.is_dir() and not is_compiled(inner) and not is_converted(inner, path):
                yield from _foreign_file(inner, shown, manifests)
    elif path.is_file():
        yield from _foreign_file(path, name, manifests)
    elif path.exists():
        yield f"{name} is not a file that Retable wrote"


def _foreign_file(path: Path, shown: str, manifests: tuple[Manifest, ...]) -> Iterator[str]:
    digests = [digest for manifest in manifests for digest in manifest.files.get(shown, ())]
    if not digests:
        yield f"{shown} is not of an export"
    elif not path.is_file() or digest_of(path) not in digests:
        yield f"{shown} was changed after it was exported"


def is_compiled(path: Path) -> bool:
    return path.parent.name == "__pycache__" and path.suffix == ".pyc"


def is_converted(path: Path, model: Path) -> bool:
    """Whether ``search convert`` or ``search single`` wrote a file of a model folder, and nothing has changed it since.

    The folder of a single network is a model folder, which may hold conversions of its own.
    """
    first, *rest = path.relative_to(model).parts
    if first.startswith(SCRATCH):
        return True
    if first == SINGLE_FOLDER and rest and (rest[0] in FOLDERS or rest[0].startswith(SCRATCH)):
        return is_converted(path, model / SINGLE_FOLDER)
    if not rest or not (first == SINGLE_FOLDER or (first in FOLDERS and len(rest) == 1)):
        return False
    name, files = "/".join(rest), converted_files(model / first)
    return bool(files) and (name == INDEX or (path.is_file() and files.get(name) == digest_of(path)))


def _parse(content: Any) -> Manifest | None:
    if content["made_by"] != "retable" or content["format"] != _FORMAT:
        return None
    files = {str(name): tuple(map(str, digests)) for name, digests in content["files"].items()}
    for name, digests in files.items():
        parts = PurePosixPath(name).parts
        inside = parts and parts[0] in NAMES and ".." not in parts and "\0" not in name
        if not inside or not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
            return None
    return Manifest(
        kind=OutputKind(content["kind"]), database=str(content["database"]), study=str(content["study"]), files=files
    )
