"""Predictions as a value, and the CSV table that they are written to."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InferenceError
from .file_kinds import ARCHIVES, SUFFIXES
from .printable import printable

_OTHER_FORMATS = frozenset(
    [
        *(".xlsx", ".xls", ".xlsm", ".ods", ".tsv", ".json", ".jsonl", ".parquet", ".feather", ".arrow"),
        *(".npz", ".npy", ".pkl", ".pickle", ".h5", ".hdf5", ".db", ".sqlite", ".yaml", ".yml", ".xml", ".md"),
        *(".html", ".pdf"),
        *ARCHIVES,
    ]
)
"""Extensions under which a program would not look for a CSV table."""
_STREAMS = ("-", "/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2")
SEPARATOR = "|"
"""Between several labels in a cell; names may hold blanks and commas."""
ESCAPE = "\\"
TABLE = "predictions.csv"
_FIRST_COLUMNS = ("image_id", "y_pred")


class OutputError(InferenceError):
    """The table of predictions cannot be written to the given path. What lies there is unchanged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Predictions of a model folder for n images and C classes."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    proba: NDArray[np.float64]
    """Blended probabilities (n, C); rows sum to 1, unless images may have several labels."""
    labels: NDArray[np.int64]
    """Index of the predicted class by the decision rule of the folder: (n,). Of several labels: 0 and 1, (n, C)."""
    notes: tuple[str, ...] = ()
    """Sentences for the user, such as which files are no images."""


def folder_problem(folder: Path) -> str | None:
    """Why the file of ``--output`` cannot be created in ``folder``, and what to do; None: it can."""
    if folder.is_dir():
        if os.access(folder, os.W_OK | os.X_OK):
            return None
        return f"this user cannot write to the folder {printable(str(folder.absolute()))}: give another --output"
    there = next((each for each in (folder, *folder.parents) if each.exists()), None)
    if there is not None and not there.is_dir():
        return f"{printable(str(there))} is a file, not a folder: give another --output"
    return f"there is no folder {printable(str(folder))}: create it, or give another --output"


def file_path(text: str, ending: str = ".csv") -> Path:
    """The path of ``--output`` as it is typed. A slash at its end, which `Path` drops, means a folder.

    Args:
        ending: of the file that the message suggests.

    Raises:
        OutputError: the text ends like a folder.
    """
    path = Path(text)
    if text.endswith(("/", os.sep)):
        better = path / f"output{ending}" if path.is_dir() else path.with_name(path.name + ending)
        raise OutputError(f"{printable(text)} is a folder by its ending; --output names a file, such as {better}")
    return path


def default_output(model_dir: Path) -> str:
    """Where predictions are written by default: in the working folder, or beside the model folder if they are one."""
    inside = Path.cwd().is_relative_to(model_dir.resolve())
    return os.path.relpath(model_dir.resolve().parent / TABLE) if inside else TABLE


def check_output(path: Path, model_dir: Path) -> None:
    """Check that a table of predictions can be written to ``path``, before anything is predicted.

    An existing file is replaced only if it is such a table, or empty.

    Raises:
        OutputError: it cannot, with the cause.
    """
    shown = printable(str(path))
    try:
        if str(path) in _STREAMS:
            raise OutputError(f"predictions are written to a file, not to {shown}: --output predictions.csv")
        if path.is_dir():
            raise OutputError(f"{shown} is a folder; --output names a file, such as {shown}/predictions.csv")
        if path.suffix.lower() in SUFFIXES:
            raise OutputError(f"{shown} is named like an image; predictions are a CSV table: --output predictions.csv")
        target = path.resolve()
        if target.is_relative_to(model_dir.resolve()):
            raise OutputError(f"{shown} lies in the model folder, which an export replaces: give another --output")
        if (suffix := path.suffix.lower()) in _OTHER_FORMATS:
            better = printable(str(path.with_name(path.name.split(".")[0] or "predictions").with_suffix(".csv")))
            raise OutputError(f"{shown} ends in {suffix}, but predictions are a CSV table: --output {better}")
        if target.exists() and not target.is_file():
            raise OutputError(f"{shown} is no regular file: give another --output")
        if target.exists() and not _is_replaceable(target):
            raise OutputError(f"{shown} exists and holds no predictions, so it is left alone: give another --output")
        if (problem := folder_problem(path.parent) or folder_problem(target.parent)) is not None:
            raise OutputError(problem)
        probe = _temporary(target)
        probe.touch()
        probe.unlink()
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # such as a loop of links, or a null character
        cause = getattr(error, "strerror", None) or error
        raise OutputError(f"predictions cannot be written to {shown}: {cause}; give another --output") from error


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a CSV table ``image_id,y_pred,p_<class>,...``. A failure leaves no partial file.

    Several labels in a cell of ``y_pred`` are separated by `SEPARATOR`.

    Raises:
        OutputError: the file cannot be written.
    """
    names = predictions.class_names
    target = path.resolve()  # of a link, what it leads to is replaced, and not the link
    temporary = _temporary(target)
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*_FIRST_COLUMNS, *(f"p_{name}" for name in names)])
            table.writerows(
                [image, label_cell(label, names), *(f"{value:.9g}" for value in row)]
                for image, label, row in zip(predictions.ids, predictions.labels, predictions.proba, strict=True)
            )
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"predictions cannot be written to {printable(str(path))}: {error.strerror or error}; give another --output"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def label_cell(label: NDArray[np.int64], names: Sequence[str]) -> str:
    """One predicted label, or several: a class number, or a row of 0 and 1 for each class."""
    row = np.asarray(label)
    return joined_labels([names[c] for c in np.flatnonzero(row).tolist()]) if row.ndim else names[int(row)]


def joined_labels(names: Sequence[str]) -> str:
    """Several labels in one cell; `ESCAPE` makes a separator, or another escape, a part of a name."""
    return SEPARATOR.join(name.replace(ESCAPE, 2 * ESCAPE).replace(SEPARATOR, ESCAPE + SEPARATOR) for name in names)


def _temporary(path: Path) -> Path:
    # Random, because containers that share a folder may have the same process ids.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _is_replaceable(path: Path) -> bool:
    """Whether a file is empty, or a table that `write_predictions` has written."""
    beginning = ",".join(_FIRST_COLUMNS).encode() + b","
    with path.open("rb") as file:
        start = file.read(len(beginning))
    return start in (b"", beginning)
