"""A user's folder of images: read and inspected by who begins a study, opened again by its workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from search.study_state.study import Study
from storage.stores import Stores
from trainer.data.duplicates import DuplicateReport, find_duplicates
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import Progress
from trainer.data.read import read_images


class DataMismatch(ValueError):  # noqa: N818 - named for the fact
    """The images at hand are not those that a study was begun with."""


class NoData(ValueError):  # noqa: N818 - named for the fact
    """Nobody said where the images are."""

    def __init__(self) -> None:
        super().__init__(
            "where are the images? Say --data FOLDER, or set RETABLE_DATA; `search check FOLDER` tells what is in one"
        )


@dataclass(frozen=True, kw_only=True)
class Competition:
    """What ``check`` and ``start`` learn about a folder."""

    images: ImageSet
    duplicates: DuplicateReport


def inspect(folder: Path, options: DataOptions, progress: Progress | None = None) -> Competition:
    """Read and verify everything in ``folder``: every image is decoded once, duplicates are found.

    Args:
        progress: called with (images done, images in all).

    Raises:
        DataError: listing everything that is wrong with the data.
    """
    images = read_images(folder, options, progress=progress)
    return Competition(images=images, duplicates=find_duplicates(images))


def open_for_training(folder: Path, study: Study) -> ImageSet:
    """The same images again, for a worker: tables are read, images are not decoded.

    Raises:
        DataMismatch: these are not the images of the study.
        DataError: they cannot be read.
    """
    images = read_images(folder, study.spec.data.options, verify=False)
    if images.fingerprint != study.fingerprint:
        raise DataMismatch(
            f"{folder} does not hold the images that this study was begun with (fingerprint {images.fingerprint[:12]}, "
            f"the study's is {study.fingerprint[:12]}). Point --data at the original folder, or begin a new study with "
            "--name"
        )
    return images


def inspect_aloud(folder: Path, options: DataOptions, console: Console) -> Competition:
    """`inspect`, with a line on the terminal that says how far it is."""
    reading = f"Reading {escape(str(folder))} …"
    with console.status(reading) as status:
        return inspect(folder, options, lambda done, total: status.update(f"{reading} {done} of {total} images"))


def known_folder(stores: Stores, fingerprint: str) -> Path | None:
    """Where a data set was when it was stored, if it is still there; its fingerprint is compared in any case."""
    folder = stores.datasets.get(fingerprint).summary.get("folder")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None
