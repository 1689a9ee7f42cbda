"""Which of a folder's tables is which: labels of the training images, list of the test images, sample submission."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainer.common.errors import DataError
from trainer.data.readers.image_files import is_visible, part_of
from trainer.formats.delimited import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables at the top of a data folder; None where there is none of that kind.

    ``sure`` says that ``train`` is named as a training table and not merely the only table left.
    """

    train: Path | None
    test: Path | None
    sample: Path | None
    sure: bool


def find_tables(folder: Path) -> Tables:
    """Sort the tables of a folder by their names.

    Raises:
        DataError: two of them could be the same thing.
    """
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and is_visible(path.name) and path.suffix.lower() in SUFFIXES
    )
    samples = [path for path in paths if re.search(r"sample|submi", path.stem, re.IGNORECASE)]
    others = [path for path in paths if path not in samples]
    # A person's own submissions may lie beside the sample.
    sample = _one("sample submission", [p for p in samples if "sample" in p.stem.lower()] or samples)
    test = _one("list of test images", _preferred([path for path in others if part_of(path.stem) == "test"], "test"))
    train_like = [path for path in others if part_of(path.stem) == "train"]
    if not train_like:
        train_like = [p for p in others if "label" in p.stem.lower() and part_of(p.stem) != "test"]
    if train_like:
        train = _one("table of training labels", _preferred(train_like, "train"))
        return Tables(train=train, test=test, sample=sample, sure=True)
    rest = [path for path in others if path != test and path.suffix.lower() != ".txt"]
    return Tables(train=rest[0] if len(rest) == 1 else None, test=test, sample=sample, sure=False)


def _preferred(paths: list[Path], stem: str) -> list[Path]:
    """The one called just ``stem``, else those that speak of labels, else all."""
    exact = [path for path in paths if path.stem.lower() == stem]
    return exact or [path for path in paths if "label" in path.stem.lower()] or paths


def _one(what: str, paths: list[Path]) -> Path | None:
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{names}: each of these could be the {what}; leave only one of them in the folder")
    return paths[0] if paths else None
