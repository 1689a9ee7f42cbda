"""The folder of images: inspected when a study is created, opened again by its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from search.runtime.console import LOG_INTERVAL, redraws, say
from search.runtime.errors import SearchError
from search.study_state.study import Study
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from trainer.common.errors import listed
from trainer.data.duplicates import DuplicateReport, find_duplicates
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.inspection import Progress
from trainer.data.read import read_images
from trainer.inference.pixel_values import checked_ranges
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


def inspect(folder: Path, options: DataOptions, progress: Progress | None = None) -> Competition:
    """Read and verify everything in ``folder``: decode every image once and find near-duplicates.

    Args:
        progress: called with (images done, images in total).

    Raises:
        DataError: the data are invalid; lists every problem.
    """
    images = read_images(folder, options, progress=progress)
    return Competition(images=images, duplicates=find_duplicates(images))


VALUE_RANGES = "value_ranges"
"""Key of `storage.records.datasets.StoredDataset.summary`: the `ImageSet.value_ranges`."""
CORRECTIONS = "corrections"
"""Key of the same: `trainer.data.image_set.AppliedCorrections.sentence`, where the labels are corrected."""


RELABELLED = "relabelled"
"""Key of the same summary, of a pre-training's data set: the coarser label of each class of the folder, or None where
the labels stay. The images are then those of the folder without test images (`pretraining_images`).
"""


BY_INDEX = "by_index"
"""Key of the same summary, of a self-supervised pre-training: the arguments of
`trainer.data.image_set.ImageSet.by_index`.
"""


def pretraining_images(images: ImageSet, classes: Mapping[str, str] | None) -> ImageSet:
    """The images of a folder as a pre-training uses them: without test images, under coarser labels if any are given.

    Args:
        classes: as for `trainer.data.image_set.ImageSet.relabelled`; None: the labels stay.

    Raises:
        DataError: fewer than two classes are left.
    """
    return images.without_test_images() if classes is None else images.relabelled(classes)


def _as_recorded(images: ImageSet, summary: Mapping[str, object]) -> ImageSet:
    """The images of a folder as a study uses them, by the summary of its data set.

    Raises:
        DataMismatch: the folder has classes that the summary does not know.
    """
    if BY_INDEX in summary:
        return images.by_index(**_by_index(summary[BY_INDEX]))
    if RELABELLED not in summary:
        return images
    classes = summary[RELABELLED]
    if classes is None:
        return pretraining_images(images, None)
    known = {str(old): str(new) for old, new in classes.items()} if isinstance(classes, Mapping) else {}
    unknown = [name for name in images.class_names if name not in known]
    if unknown:
        raise DataMismatch(f"{images.root} has classes that this study was begun without: {listed(unknown)}")
    return pretraining_images(images, known)


def _by_index(recorded: object) -> dict[str, Any]:
    """
    Raises:
        DataMismatch: these are no arguments of `trainer.data.image_set.ImageSet.by_index`.
    """
    kinds = {"with_test": bool, "most": int, "repeats": int}
    if not isinstance(recorded, Mapping) or {key: type(value) for key, value in recorded.items()} != kinds:
        raise DataMismatch(f"the database does not say which images a pre-training was begun with: {recorded!r}")
    return dict(recorded)


def open_for_training(folder: Path, study: Study, stores: Stores) -> ImageSet:
    """Read the images of a study for training, without decoding them.

    Values with more than 8 bits are scaled by the recorded ranges, so that all workers and the export see the same
    pixels. A study that was begun before the corrections beside the data keeps its labels.

    Raises:
        DataMismatch: the images are not those of the study.
        DataError: the data cannot be read.
    """
    dataset = stores.datasets.get(study.fingerprint)
    ranges = checked_ranges(dataset.summary.get(VALUE_RANGES, {}))
    options = study.spec.data.options

    def read(options: DataOptions) -> ImageSet:
        return _as_recorded(read_images(folder, options, verify=False, ranges=ranges), dataset.summary)

    images = read(options)
    if images.fingerprint == study.fingerprint:
        return images
    if images.corrections is not None and images.corrections.changes:
        as_given = read(options.without_corrections())
        if as_given.fingerprint == study.fingerprint:
            return as_given
    unread = "".join(f"\n{warning}" for warning in images.warnings if warning.startswith("not read: "))
    raise DataMismatch(
        f"{folder} does not hold the images that this study was begun with (fingerprint {images.fingerprint[:12]}, "
        f"the study's is {study.fingerprint[:12]}). {about_corrections(dataset, images)}Point --data at the original "
        f"folder, or begin a new study with --name{unread}"
    )


def about_corrections(dataset: StoredDataset, images: ImageSet) -> str:
    """Whether label corrections may be why ``images`` are not the stored data set: a sentence, a blank after it.

    Empty if neither of both has corrections.
    """
    then, now = stored_corrections(dataset), images.corrections
    if now is not None and now.changes:
        before = f"with {then}" if then else "without corrections"
        return f"It was begun {before}; now there are {now.sentence}. "
    return f"It was begun with {then}, which are not there now. " if then else ""


def stored_corrections(dataset: StoredDataset) -> str:
    """What corrections changed in a stored data set, as `AppliedCorrections.sentence`; empty: nothing."""
    found = dataset.summary.get(CORRECTIONS)
    return excerpt(found) if isinstance(found, str) else ""


def inspect_with_progress(folder: Path, options: DataOptions, console: Console) -> Competition:
    """`inspect`, with its progress on the console."""
    label = f"Reading {folder} …"
    with progress_line(console, label) as update:
        return inspect(folder, options, lambda done, total: update(f"{label} {done} of {total} images"))


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


def known_folder(stores: Stores, fingerprint: str) -> Path | None:
    """The folder that a data set was read from, if it still exists. The caller has to compare its fingerprint."""
    return existing_folder(stores.datasets.get(fingerprint).summary.get("folder"))


def existing_folder(recorded: object) -> Path | None:
    """The folder of an absolute path that the database holds; None if this machine has no such folder."""
    if not isinstance(recorded, str):
        return None
    try:
        folder = Path(recorded)
        return folder if folder.is_absolute() and folder.is_dir() else None
    except OSError:  # a name that is too long, or a folder above that this user may not search
        return None
