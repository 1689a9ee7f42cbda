"""The folder and the settings of [data] of a stored study, for ``search check --study``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.runtime.errors import SearchError
from search.study_setup.data_folder import known_folder
from search.study_state.study import read_study
from storage.stores import open_stores
from studies.file.overrides import data_settings
from studies.settings import DataSettings
from studies.stored_spec import spec_from_dict


class FolderUnknown(SearchError):
    """This machine has no folder with the images of a study."""

    def __init__(self, study: str) -> None:
        super().__init__(
            f"this machine has no folder that study {study} was begun with: give the folder of its images, as in "
            f"`search check DATA --study {study}`"
        )


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """What a study reads, and how."""

    folder: Path
    settings: DataSettings
    folds: int


def read_study_data(name: str, storage_url: str, folder: Path | None, overrides: Sequence[str]) -> StudyData:
    """The folder, the settings of [data] and the number of folds of the stored study called ``name``.

    Args:
        folder: of the images; None: the one with which the study was begun or last continued.
        overrides: ``data.KEY=VALUE`` changes of the study's settings.

    Raises:
        NoStudy, UnknownStudyError: there is no such study.
        StudyError: an override is invalid, or of another table than [data].
        FolderUnknown: ``folder`` is None, and this machine has none of the study's folders.
    """
    data_settings(overrides)
    stores = open_stores(storage_url)
    try:
        stored = read_study(stores, name).stored
        found = folder or known_folder(stores, stored)
    finally:
        stores.database.close()
    if found is None:
        raise FolderUnknown(name)
    spec = spec_from_dict(stored.spec, overrides)
    return StudyData(folder=found, settings=spec.data, folds=spec.protocol.folds)
