"""Artifacts of trials that have ended. Optuna's own function adds them to running trials only."""

from __future__ import annotations

import json
import mimetypes
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from storage.optuna_storage.optuna_trials import set_system_attribute, system_attributes, trial_id_of

if TYPE_CHECKING:
    from optuna.artifacts import FileSystemArtifactStore

_PREFIX = "dashboard:artifacts:"
"""Optuna Dashboard's prefix of the system attributes of a study that hold artifacts of its trials."""


def attach_artifact(study: optuna.Study, number: int, artifact_store: FileSystemArtifactStore, file: Path) -> None:
    """Show a file among the artifacts of trial ``number`` in Optuna Dashboard, whether or not the trial has ended.

    Raises:
        OSError: the file cannot be copied.
    """
    artifact_id = str(uuid.uuid4())
    with file.open("rb") as content:
        artifact_store.write(artifact_id, content)
    described = {
        "artifact_id": artifact_id,
        "filename": file.name,
        "mimetype": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        "encoding": None,
    }
    key = f"{_PREFIX}{trial_id_of(study, number)}:{artifact_id}"
    set_system_attribute(study, key, json.dumps(described))


def trials_with_artifact(study: optuna.Study, filename: str) -> Collection[int]:
    """Optuna's ids (not the numbers) of the trials that have got an artifact of this name by `attach_artifact`."""
    found = set()
    for key, value in system_attributes(study).items():
        if key.startswith(_PREFIX) and (json.loads(value) or {}).get("filename") == filename:
            found.add(int(key.removeprefix(_PREFIX).partition(":")[0]))
    return found
