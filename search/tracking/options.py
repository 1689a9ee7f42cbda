"""Which trackers a worker feeds: options of `search start` and `search worker`, and their environment variables."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from search.runtime.errors import SearchError

TENSORBOARD_VARIABLE = "RETABLE_TENSORBOARD"
"""Environment variable of ``--tensorboard``."""
MLFLOW_VARIABLE = "RETABLE_MLFLOW"
"""Environment variable of ``--mlflow``, whose URI may hold a password: it is no argument of a worker."""

_SQLITE = "sqlite:///"


class TrackingError(SearchError):
    """A tracker cannot be used as requested; the message names the remedy."""


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """The trackers that were asked for."""

    tensorboard: Path | None = None
    """Folder of TensorBoard's event files."""
    mlflow: str | None = field(default=None, repr=False)
    """MLflow's tracking URI: may hold a password, so never part of arguments, of a log or of a traceback."""

    @staticmethod
    def of_environment() -> TrackingOptions:
        """The trackers that the environment names, as the options of a command would."""
        folder, uri = os.environ.get(TENSORBOARD_VARIABLE), os.environ.get(MLFLOW_VARIABLE)
        return TrackingOptions(tensorboard=Path(folder) if folder else None, mlflow=uri or None)

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables that give a worker the same trackers."""
        given = {TENSORBOARD_VARIABLE: self.tensorboard, MLFLOW_VARIABLE: self.mlflow}
        return {name: str(value) for name, value in given.items() if value}

    def checked(self) -> TrackingOptions:
        """The same with absolute paths, so that workers in other folders write to the same place.

        Raises:
            TrackingError: a package is missing, the folder is a file, or MLflow does not keep runs at such a URI.
        """
        folder = self.tensorboard
        if folder is not None:
            _check_package("tensorboard", "tensorboard")
            if folder.exists() and not folder.is_dir():
                raise TrackingError(f"--tensorboard {folder} is a file; give the folder for TensorBoard's event files")
        if self.mlflow is not None:
            _check_package("mlflow", "mlflow")
        return TrackingOptions(
            tensorboard=None if folder is None else folder.absolute(),
            mlflow=None if self.mlflow is None else _absolute_uri(self.mlflow),
        )


def _check_package(name: str, extra: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise TrackingError(f"--{extra} needs the package {name}: pip install 'retable[{extra}]'")


def _absolute_uri(uri: str) -> str:
    """MLflow's URI with the path of a SQLite file made absolute.

    Raises:
        TrackingError: it names a folder, which MLflow refuses since 3.13, or nothing that MLflow knows.
    """
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", uri)
    if scheme is None or scheme[0].lower() == "file":
        raise TrackingError(
            "--mlflow names a folder, where MLflow no longer keeps runs (since 3.13): give a database file, "
            "--mlflow sqlite:///mlflow.db, or the address of a server such as http://HOST:5000"
        )
    if not uri.startswith(_SQLITE):
        return uri
    file = Path(unquote(uri.removeprefix(_SQLITE)))
    if not file.name or file.is_dir():
        raise TrackingError("--mlflow names no file after sqlite:///; give --mlflow sqlite:///mlflow.db")
    return _SQLITE + quote(str(file.absolute()))
