"""The networks of stored trainings in a home folder: found, compared with their record, and removed.

The database holds a digest of each file. Another file at the same path, of a copy of the database or damaged, counts as
missing, so that the training is repeated instead of a wrong network exported.
"""

from __future__ import annotations

import logging
from pathlib import Path

from search.runtime.home import Home
from storage.artifacts import ArtifactFolder
from storage.stores import Stores
from storage.values import TrialRecord

log = logging.getLogger(__name__)


def artifacts_of(stores: Stores, home: Home) -> ArtifactFolder:
    """The folder of this database's checkpoints and weights in ``home``."""
    return ArtifactFolder(home.artifacts, stores.database.identity)


def kept_networks(home: Home, study: str, record: TrialRecord) -> list[Path]:
    """Weight files of a training's fold models, by fold; empty if ``home`` lacks one or holds another in its place.

    Args:
        study: name of the study of ``record``.
    """
    if record.networks is None:
        return ArtifactFolder(home.artifacts).kept_weights(study, record.work_id)
    files = ArtifactFolder(home.artifacts).verified(record.networks)
    if files is None:
        places = [home.artifacts / name for name in record.networks]
        if all(place.is_file() for place in places):
            log.warning(
                "The networks in %s are not those that the database recorded: a copy of the database wrote there, or "
                "they are damaged. They are not used.",
                places[0].parent,
            )
        return []
    return files


def network_header(home: Home, study: str, record: TrialRecord) -> Path | None:
    """A weight file of a training, for its header alone: whether it has changed is not checked. None: there is none.

    Args:
        study: name of the study of ``record``.
    """
    if record.networks is None:
        places = ArtifactFolder(home.artifacts).kept_weights(study, record.work_id)
    else:
        places = [home.artifacts / name for name in sorted(record.networks)]
    return next((place for place in places if place.is_file()), None)


def remove_networks(artifacts: ArtifactFolder, study: str, record: TrialRecord) -> None:
    """Remove the networks of a training from this database's folder.

    Raises:
        OSError: they cannot be removed.
    """
    (artifacts.earlier if record.networks is None else artifacts).remove_weights(study, record.work_id)
