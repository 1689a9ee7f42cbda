"""Checks of arguments before any slow import.

Importing Optuna and SQLAlchemy takes a second, timm several. These checks of study files, folders and engine options
run before that, so that a mistake is reported immediately. The commands check again, with the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.runtime.errors import SearchError
from storage.database.existing import NoStudy, check_database
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


def check_folder(folder: Path) -> None:
    """Check that the folder of images exists.

    Raises:
        DataError: it does not, or is a file.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder" if folder.exists() else f"there is no folder {folder}")
