"""Files beside images that may be tables of labels of a kind that is not read, and how they become tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from trainer.common.errors import DataError, listed
from trainer.data.names.own_files import is_data
from trainer.data.names.parts import split_of
from trainer.data.readers.tables.reading.records.tables import is_json, is_json_table, json_problem
from trainer.inference.printable import printable

OTHER_TABLES = (
    *(".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".json", ".jsonl", ".ndjson", ".parquet", ".feather", ".tab"),
    *(".xml", ".db", ".sqlite", ".sqlite3", ".pkl", ".pickle", ".arff", ".mat", ".h5", ".hdf5"),
    *(f"{table}{packed}" for table in (".csv", ".tsv") for packed in (".gz", ".zip", ".bz2", ".xz", ".zst")),
)
_SAYS_LABELS = re.compile("label|annotation")
_MAY_LABEL = re.compile("label|annotation|metadata|train|target|truth|diagnos")
_MODEL = re.compile(
    r"model|weight|checkpoint|ckpt|keras|epoch|(?:res|dense|efficient|mobile|shuffle|squeeze|conv|alex|reg|u)-?net|vgg\d"
    "|xception"
)
"""In the names of files that hold a network."""
_OF_MODELS = (".h5", ".hdf5", ".pkl", ".pickle")
_DATABASES = (".db", ".sqlite", ".sqlite3")
_ARRAYS = (".npy", ".npz", ".dat", ".data", ".psv", ".rds", ".rda", ".rdata", ".yaml", ".yml")
"""Further files that may hold labels, if their names say so."""
_FEW = 3


def files_in(folder: Path, suffixes: Collection[str] = ()) -> list[Path]:
    """The files directly in a folder that may be data.

    Args:
        suffixes: extensions in lower case of the files that are wanted; empty: all.
    """
    paths = (path for path in folder.iterdir() if not suffixes or path.suffix.lower() in suffixes)
    return sorted(path for path in paths if path.is_file() and is_data(path))


def other_tables(folder: Path) -> list[Path]:
    """Files directly in a folder that may be tables of a kind that is not read."""
    return [path for path in files_in(folder) if is_other_table(path)]


def labels_inside(folders: Sequence[Path]) -> list[Path]:
    """Files in a single one of some folders that may hold the labels of its images by their names, if they are few.

    More files describe an image each. Files in several folders describe a class each.
    """
    found = [[path for path in other_tables(place) if _MAY_LABEL.search(path.name.lower())] for place in folders]
    telling = [own for own in found if own]
    return telling[0] if len(telling) == 1 < len(folders) and len(telling[0]) <= _FEW else []


def is_other_table(path: Path) -> bool:
    """Whether a file may be a table of a kind that is not read, by its extension and name."""
    name = path.name.lower()
    if is_model(path) or is_json_table(path):
        return False
    return name.endswith(OTHER_TABLES) or (name.endswith(_ARRAYS) and _SAYS_LABELS.search(name) is not None)


def is_model(path: Path) -> bool:
    """Whether a file holds a network by its extension and name: ``keras_model.h5``."""
    name = path.name.lower()
    kinds = (*_OF_MODELS, ".pt", ".pth", ".joblib")
    return name.endswith(kinds) and bool(_MODEL.search(name)) and not _SAYS_LABELS.search(name)


def bare_tables(folder: Path) -> list[Path]:
    """Files without an extension directly in a folder whose names say that they hold labels: ``HAM10000_metadata``."""
    return [path for path in files_in(folder) if not path.suffix and may_give_labels(path)]


def may_give_labels(path: Path) -> bool:
    """Whether the name or the beginning of one of `other_tables` says that it holds labels or parts of the images."""
    named = split_of(path.stem) != "test" and _MAY_LABEL.search(path.name.lower()) is not None
    return named or is_coco(path) or (is_json(path) and b"ml_use" in _beginning(path))


def is_coco(path: Path) -> bool:
    """Whether a file seems to be JSON of COCO or iNaturalist: images with their file names, and annotations."""
    if path.suffix.lower() != ".json":
        return False
    beginning = _beginning(path)
    return b'"file_name"' in beginning and (b'"images"' in beginning or b'"annotations"' in beginning)


def how_to_save(path: Path) -> str:
    """How a file of labels that is not read becomes a table, as the end of a sentence."""
    if is_coco(path):
        return (
            "write a table labels.csv with the columns image and label: for each of its images the file_name, and the "
            "name of the category of its annotation"
        )
    if is_json(path) and (problem := json_problem(path)):
        return f"{problem}. Correct it, or save it as CSV with the columns image and label, and one row for each image"
    if path.suffix.lower() in (*_DATABASES, *_OF_MODELS, ".mat"):
        return "export its labels as CSV"
    return "save it as CSV" if path.suffix else "if it is a table, add .csv to its name"


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2**16)
    except OSError:  # the search for labels is no reason to fail; the file is reported as not read
        return b""


def refuse_other_labels(folder: Path, paths: Sequence[Path], class_folders: Sequence[str]) -> None:
    """Refuse to guess that folders are the classes while files that are not read seem to hold the labels.

    Args:
        folder: the data folder.
        paths: such files.

    Raises:
        DataError: there are any.
    """
    if paths:
        raise DataError(
            f"{printable(paths[0].relative_to(folder).as_posix())} is not read, though it may hold the labels: "
            f"{how_to_save(paths[0])}. If the folders {listed(class_folders, 4)} are the classes, add --layout "
            "folders (data.layout)"
        )
