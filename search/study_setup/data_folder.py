"""The folder of images: inspected when a study is created, opened again by its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from search.runtime.console import LOG_INTERVAL, redraws, say
from search.runtime.errors import SearchError
from storage.records.datasets import StoredDataset
from storage.records.study_rows import StoredStudy
from storage.stores import Stores
from trainer.data.duplicates import DuplicateReport, find_duplicates
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import Progress
from trainer.data.read import read_images
from trainer.formats.label_tables import Correction
from trainer.inference.printable import excerpt, printable


class DataMismatch(SearchError):
    """The images are not those with which the study was created."""


class NoData(SearchError):
    """No folder of images was given."""

    def __init__(self) -> None:
        super().__init__(
            "where are the images? Give --data FOLDER, or set RETABLE_DATA; `search check FOLDER` describes a folder"
        )


@dataclass(frozen=True, kw_only=True)
class Competition:
    """The images of a folder and the near-duplicates among them."""

    images: ImageSet
    duplicates: DuplicateReport


def inspect(
    folder: Path,
    options: DataOptions,
    progress: Progress | None = None,
    corrections: Sequence[Correction] | None = None,
) -> Competition:
    """Read and verify everything in ``folder``: decode every image once and find near-duplicates.

    Args:
        progress: called with (images done, images in total).
        corrections: as for `trainer.data.read.read_images`.

    Raises:
        DataError: the data are invalid; lists every problem.
    """
    images = read_images(folder, options, progress=progress, corrections=corrections)
    return Competition(images=images, duplicates=find_duplicates(images))


VALUE_RANGES = "value_ranges"
"""Key of `storage.records.datasets.StoredDataset.summary`: the `ImageSet.value_ranges`."""
CORRECTIONS = "corrections"
"""Key of the same: `trainer.data.image_set.AppliedCorrections.sentence`, where the labels are corrected."""


def about_corrections(dataset: StoredDataset, images: ImageSet, *, recorded: bool) -> str:
    """Whether label corrections may be why ``images`` are not the stored data set: a sentence, a blank after it.

    Empty if neither of both has corrections, or if the study has ``recorded`` those with which it was begun: they have
    been applied then (`search.study_setup.open_images.read_as_begun`).
    """
    if recorded:
        return ""
    then, now = stored_corrections(dataset), images.corrections
    if now is not None and now.changes:
        before = f"with {then}" if then else "without corrections"
        return f"It was begun {before}; now there are {now.sentence}. "
    return f"It was begun with {then}, which are not there now. " if then else ""


def stored_corrections(dataset: StoredDataset) -> str:
    """What corrections changed in a stored data set, as `AppliedCorrections.sentence`; empty: nothing."""
    found = dataset.summary.get(CORRECTIONS)
    return excerpt(found) if isinstance(found, str) else ""


def inspect_with_progress(
    folder: Path, options: DataOptions, console: Console, corrections: Sequence[Correction] | None = None
) -> Competition:
    """`inspect`, with its progress on the console."""
    label = f"Reading {folder} …"
    with progress_line(console, label) as update:
        return inspect(folder, options, lambda done, total: update(f"{label} {done} of {total} images"), corrections)


@contextmanager
def progress_line(
    console: Console, text: str, monotonic: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str], None]]:
    """Show the progress of a step: a line that is redrawn on a terminal, else plain lines, `LOG_INTERVAL` apart.

    Yields:
        A function that changes the text. It may be called often.
    """
    if redraws(console):
        with console.status(escape(printable(text))) as status:
            yield lambda text: status.update(escape(printable(text)))
        return
    last = monotonic()

    def update(text: str) -> None:
        nonlocal last
        if monotonic() - last >= LOG_INTERVAL:
            last = monotonic()
            say(console, text, whole=True)

    yield update


def known_folder(stores: Stores, study: StoredStudy) -> Path | None:
    """The first of the `known_folders` of a study; None: this machine has none of them."""
    return next(iter(known_folders(stores, study)), None)


def known_folders(stores: Stores, study: StoredStudy) -> list[Path]:
    """Folders of this machine that held the images of a study. The caller has to compare their fingerprints.

    The first is the folder with which the study was begun or last continued. Another may follow, that of the first
    study of the same images. It is the only one on record where an earlier release began the study.
    """
    recorded = (study.data_dir, stores.datasets.get(study.fingerprint).summary.get("folder"))
    found = [folder for folder in map(existing_folder, recorded) if folder is not None]
    return list(dict.fromkeys(found))


def existing_folder(recorded: object) -> Path | None:
    """The folder of an absolute path that the database holds; None if this machine has no such folder."""
    if not isinstance(recorded, str):
        return None
    try:
        folder = Path(recorded)
        return folder if folder.is_absolute() and folder.is_dir() else None
    except OSError:  # a name that is too long, or a folder above that this user may not search
        return None
