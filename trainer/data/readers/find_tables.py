"""Find the tables of a data folder by name: training labels, list of test images, sample submission."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.image_files import is_visible, split_of
from trainer.formats.delimited import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables directly in a data folder; None where there is none of that kind.

    ``sure`` is true if the name of ``train`` says that it holds training labels. It is false if ``train`` is only the
    last table left.
    """

    train: Path | None
    test: Path | None
    sample: Path | None
    sure: bool


def find_tables(folder: Path) -> Tables:
    """Assign the tables of a folder to their roles by name.

    Raises:
        DataError: two tables could have the same role.
    """
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and is_visible(path.name) and path.suffix.lower() in SUFFIXES
    )
    samples = [path for path in paths if re.search(r"sample|submi", path.stem, re.IGNORECASE)]
    others = [path for path in paths if path not in samples]
    # The user's own submissions may be in the folder, too.
    sample = _one("sample submission", [p for p in samples if "sample" in p.stem.lower()] or samples)
    test = _one("list of test images", _preferred([path for path in others if split_of(path.stem) == "test"], "test"))
    train_like = [path for path in others if split_of(path.stem) == "train"]
    if not train_like:
        train_like = [p for p in others if "label" in p.stem.lower() and split_of(p.stem) != "test"]
    if train_like:
        train = _one("table of training labels", _preferred(train_like, "train"))
        return Tables(train=train, test=test, sample=sample, sure=True)
    rest = [path for path in others if path != test and path.suffix.lower() != ".txt"]
    return Tables(train=rest[0] if len(rest) == 1 else None, test=test, sample=sample, sure=False)


def _preferred(paths: list[Path], stem: str) -> list[Path]:
    """The path whose stem is exactly ``stem``, else the paths with \"label\" in their stem, else all."""
    exact = [path for path in paths if path.stem.lower() == stem]
    return exact or [path for path in paths if "label" in path.stem.lower()] or paths


def _one(what: str, paths: list[Path]) -> Path | None:
    """The only path; None without any. Several are a DataError."""
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{names}: each of these could be the {what}; leave only one of them in the folder")
    return paths[0] if paths else None
