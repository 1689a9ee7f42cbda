"""Which files and folders may be data: visible ones that Retable did not write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trainer.formats.label_tables import (
    CORRECTIONS_FILE,
    CORRECTIONS_HEADER,
    EARLIER_CORRECTIONS_HEADER,
    EARLIER_REVIEW_HEADER,
    REVIEW_HEADER,
)
from trainer.inference.file_kinds import is_hidden
from trainer.inference.find_images import OWN_PICTURES

OUTPUT_FOLDER = "retable"  # in the working directory, which may be the data folder
PICTURES = (*OWN_PICTURES, "preview.png")
"""Usual names of the pictures that Retable draws."""
REVIEW_PAGE, REVIEW_TABLE = "label_review.html", "label_review.csv"
_EXPORT_FILES = frozenset(
    (
        *("submission.csv", "test_proba.csv", "oof.csv", "folds.csv", "MODEL_CARD.md", "report.html", "model"),
        *(REVIEW_PAGE, REVIEW_TABLE, *PICTURES),
    )
)
_FOLDS_HEADER = ("image_id", "label", "group", "fold")
_PREDICTION_COLUMNS = ("fold", "seed", "y_true", "y_pred")


def is_visible(name: str) -> bool:
    """Whether a name may be data. Hidden files and leftovers of archivers and file managers are not."""
    return not is_hidden(name)


def is_data(path: Path) -> bool:
    """Whether a path may be data: visible, and not written by Retable."""
    if not is_visible(path.name):
        return False
    if path.is_dir():
        is_output = path.name == OUTPUT_FOLDER and path.absolute().parent == Path.cwd()
        return not is_output and not _is_own_folder(path)
    return path.name != CORRECTIONS_FILE and not is_own_picture(path)


def is_label_table(header: Sequence[str]) -> bool:
    """Whether a table with this header holds decisions about labels (`trainer.formats.label_tables`)."""
    return tuple(header) in (
        REVIEW_HEADER,
        CORRECTIONS_HEADER,
        EARLIER_REVIEW_HEADER,
        EARLIER_CORRECTIONS_HEADER,
    )


def is_own_table(header: Sequence[str]) -> bool:
    """Whether a table with this header was written by Retable: folds, or predicted probabilities."""
    if tuple(header) == _FOLDS_HEADER:
        return True
    probabilities = [name for name in header[1:] if name.startswith("p_")]
    others = [name for name in header[1:] if name not in probabilities]
    return header[:1] == ["image_id"] and bool(probabilities) and all(name in _PREDICTION_COLUMNS for name in others)


def _is_own_folder(path: Path) -> bool:
    """Whether a folder is Retable's home, an export or a model folder, by the files in it."""
    if not os.access(path, os.R_OK | os.X_OK):
        return False

    def holds(*names: str) -> bool:  # not by `Path`, which takes three times as long: there may be a thousand classes
        return all(os.path.isfile(os.path.join(path, name)) for name in names)  # noqa: PTH113, PTH118

    if holds(".cache/identity") or holds("MODEL_CARD.md", "submission.csv") or holds("config.json", "predict.py"):
        return True
    if not holds("submission.csv"):
        return False
    return {entry.name for entry in path.iterdir() if is_visible(entry.name)} <= _EXPORT_FILES


def is_own_picture(path: Path) -> bool:
    """Whether a file is a figure that Retable drew: it has a usual name, and Matplotlib has signed it."""
    if path.name not in PICTURES or not path.is_file():
        return False
    with path.open("rb") as file:
        return b"Matplotlib" in file.read(512)
