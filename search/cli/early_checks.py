"""Checks of arguments before any slow import.

Importing Optuna and SQLAlchemy takes a second, timm several. These checks of study files, folders and engine options
run before that, so that a mistake is reported immediately. The commands check again, with the same code.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from search.runtime.errors import SearchError
from storage.database.existing import NoStudy, check_database
from storage.database.urls import sqlite_file
from studies.file.catalog import check_name, find_study, is_study_file
from studies.load_study import load_study
from trainer.common.errors import DataError, suggest


def check_study(study: str, overrides: Sequence[str], name: str | None, storage_url: str) -> None:
    """Check a study file, its overrides and the name of the stored study.

    What may be the name of a stored study is left to `search.study_setup.prepare`.

    Raises:
        StudyError: listing every problem.
        StorageError: the database URL is invalid.
    """
    if not is_study_file(study) and _has_database(storage_url):
        return
    load_study(study, overrides)
    check_name(name or find_study(study).name)


def _has_database(storage_url: str) -> bool:
    try:
        check_database(storage_url)
    except NoStudy:
        return False
    return True


class OtherSettings(SearchError):
    """Options that a second study does not take."""


def second_study_option(given: Mapping[str, str | None]) -> tuple[str, str] | None:
    """The option that asks for a second study, and its value; None: there is none.

    Args:
        given: the value of each such option; None: not given.

    Raises:
        OtherSettings: several are given.
    """
    found = [(option, value) for option, value in given.items() if value is not None]
    if len(found) > 1:
        options = " and ".join(option for option, _ in found)
        raise OtherSettings(f"{options} begin different studies: give one of them")
    return found[0] if found else None


def check_second_study(option: str, given: Mapping[str, bool]) -> None:
    """Check that only options are given that a second study takes.

    Args:
        option: that asks for it, such as ``--pseudo-from``.
        given: whether each option is given that it does not take.

    Raises:
        OtherSettings: some are.
    """
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise OtherSettings(
            f"{option} trains one recipe with the settings of the study that it names, so it takes no "
            f"{', '.join(names)}"
        )


ENGINES = ("local", "ray")
"""Names of the engines, as in `search.engines.plan.ENGINES`."""


class EngineMistake(SearchError):
    """Invalid options of an engine."""


def check_engine(engine: str, *, gpus: str | None, workers_per_gpu: int, address: str | None, storage_url: str) -> None:
    """Check that an engine exists and supports the given options.

    Raises:
        EngineMistake: the engine does not exist, or an option belongs to another engine.
    """
    if engine not in ENGINES:
        raise EngineMistake(f"there is no engine {engine!r}{suggest(engine, ENGINES)}")
    if engine == "ray" and (gpus is not None or workers_per_gpu != 1):
        raise EngineMistake("--gpus and --workers-per-gpu are for local workers; on Ray: --gpus-per-worker 0.5")
    if engine == "ray" and address not in (None, "auto", "local") and storage_url.startswith("sqlite"):
        raise EngineMistake(
            f"workers on the cluster {address} cannot reach the file {storage_url}; use a database server: "
            "--storage postgresql://USER@HOST/retable"
        )
    if engine == "local" and address is not None:
        raise EngineMistake("--address names a Ray cluster: add --engine ray")


class PlacesNotWritable(SearchError):
    """Folders or the database of a search cannot be created or written to."""


def check_places(home: Path, storage_url: str, output: Path | None) -> None:
    """Check that the home folder, the file of a SQLite database and the folder of an export can be written to.

    Args:
        output: folder of the export; None: it lies in the home folder.

    Raises:
        PlacesNotWritable: names every place that cannot, and options that help.
        StorageError: the database URL is invalid.
    """
    places = (("home folder", home), ("database", sqlite_file(storage_url)), ("folder of the export", output))
    lines = {
        what: f"the {what} {path} cannot be written to: {obstacle}"
        for what, path in places
        if path is not None and (obstacle := _obstacle(path)) is not None
    }
    if lines:
        # Not `Path.home`, which raises an error for a user without a home, as in some containers.
        usual = filter(None, (os.environ.get("HOME"), tempfile.gettempdir()))
        elsewhere = next((Path(folder) for folder in usual if _obstacle(Path(folder)) is None), Path("/FOLDER"))
        options = {
            "home folder": f"--home {shlex.quote(str(elsewhere / 'retable'))}",
            "database": f"--storage {shlex.quote(f'sqlite:///{elsewhere}/retable.db')}",
            "folder of the export": f"--output {shlex.quote(str(elsewhere / 'export'))}",
        }
        example = " ".join(options[what] for what in lines)
        raise PlacesNotWritable("\n".join([*lines.values(), f"name another place, for example: {example}"]))


def _obstacle(path: Path) -> str | None:
    """Why neither a file nor a folder can be created or changed at ``path``; None: it can."""
    path = path.absolute()
    there = next(each for each in (path, *path.parents) if os.access(each, os.F_OK))
    if there != path and not there.is_dir():
        return f"{there} is a file, not a folder"
    for each in (there,) if there.is_dir() else (there, there.parent):  # SQLite writes files beside its database
        if not os.access(each, os.W_OK | os.X_OK if each.is_dir() else os.W_OK):
            return f"this user cannot write to {each}"
    return None


def check_folder(folder: Path) -> None:
    """Check that the folder of images exists.

    Raises:
        DataError: it does not, or is a file.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder" if folder.exists() else f"there is no folder {folder}")
