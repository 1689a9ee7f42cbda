"""The images of a stored study, read as they were when it began: corrected, relabelled, or by their index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from search.runtime.console import note
from search.study_setup.data_folder import (
    VALUE_RANGES,
    Competition,
    DataMismatch,
    about_corrections,
    inspect_with_progress,
    stored_corrections,
)
from search.study_state.study import Study
from storage.stores import Stores
from trainer.common.errors import DataError, listed
from trainer.data.corrections.apply import corrections_path, other_corrections_beside
from trainer.data.corrections.stored_labels import corrections_between
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.formats.label_tables import Correction
from trainer.inference.pixel_values import checked_ranges

RELABELLED = "relabelled"
"""Key of `storage.records.datasets.StoredDataset.summary`, of a pre-training: the coarser label of each class of the
folder, or None where the labels stay. The images are then the training images of the folder (`pretraining_images`).
"""
BY_INDEX = "by_index"
"""Key of the same summary, of a self-supervised pre-training: the arguments of
`trainer.data.image_set.ImageSet.by_index`.
"""

Read = Callable[[Sequence[Correction] | None], ImageSet]
"""Reads the images of a folder with these corrections; None: with those beside them, if the options ask for them."""


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


def read_as_begun(read: Read, study: Study, stores: Stores) -> ImageSet:
    """Read the images of a study under the labels with which it was begun, whatever corrections are beside them now.

    The study has recorded its corrections. If that does not lead to its images, the data themselves may have been
    corrected since, so they are read as they are now, and without corrections. Of a study from an earlier release,
    which has no record, the stored labels tell what was corrected.

    Returns:
        The images of the study; if the folder does not hold them, those that it holds. The caller compares their
        fingerprints.

    Raises:
        DataError: the data cannot be read.
    """
    recorded = _recorded(study, stores)
    if recorded is not None:
        images = _attempt(read, recorded)
        if isinstance(images, ImageSet):
            same_now = not recorded and not corrections_path(images).exists()
            if images.fingerprint == study.fingerprint or same_now:
                return images
    now = _attempt(read, None)
    if isinstance(now, ImageSet) and now.fingerprint == study.fingerprint:
        return now
    uncorrected = _attempt(read, ())
    if isinstance(uncorrected, ImageSet):
        if uncorrected.fingerprint == study.fingerprint:
            return uncorrected
        if recorded is None and (found := _by_stored_labels(read, uncorrected, study, stores)) is not None:
            return found
    if isinstance(now, DataError):
        raise now
    return now


def inspect_as_begun(folder: Path, options: DataOptions, study: Study, stores: Stores, console: Console) -> Competition:
    """Read and verify the images with which a stored study is to be continued, with progress on the console.

    A note says if the labels, which are those with which the study was begun, would be others in a new study.

    Returns:
        The images of the study; if the folder does not hold them, those that it holds. The caller compares their
        fingerprints.

    Raises:
        DataError: the data are invalid; lists every problem.
    """
    first: Competition | None = None

    def read(corrections: Sequence[Correction] | None) -> ImageSet:
        """Verify everything at first; what further attempts tell apart, needs no pixels."""
        nonlocal first
        if first is not None:
            return read_images(folder, options, verify=False, ranges={}, corrections=corrections)
        first = inspect_with_progress(folder, options, console, corrections)
        return first.images

    images = read_as_begun(read, study, stores)
    applied = images.corrections
    corrected = "without label corrections" if applied is None or not applied.changes else f"with {applied.sentence}"
    differ = other_corrections_beside(images) if options.corrections else applied is not None and applied.changes
    if images.fingerprint == study.fingerprint and differ:
        note(
            console,
            f"study {study.name} keeps the labels that it was begun with, {corrected}; --name NAME begins a study with "
            "the labels as they are now",
        )
    if first is not None and first.images is images:
        return first
    return inspect_with_progress(folder, options, console, () if applied is None else applied.decisions)


def _recorded(study: Study, stores: Stores) -> tuple[Correction, ...] | None:
    """The corrections with which a study was begun; None: it has no record of them."""
    recorded = stores.studies.corrections(study.id)
    if recorded is None:
        return None
    return tuple(
        Correction(
            id=identifier, given=given, label=label, fingerprint="", row=f"a correction from the begin of {study.name}"
        )
        for identifier, given, label in recorded
    )


def _attempt(read: Read, corrections: Sequence[Correction] | None) -> ImageSet | DataError:
    try:
        return read(corrections)
    except DataError as problem:
        return problem


def _by_stored_labels(read: Read, uncorrected: ImageSet, study: Study, stores: Stores) -> ImageSet | None:
    """The images under the labels that are stored; None where the corrections do not explain how the labels differ.

    Coarser labels do not tell which of the finer ones were corrected, nor do images by their index.
    """
    dataset = stores.datasets.get(study.fingerprint)
    if not stored_corrections(dataset) or dataset.class_names != uncorrected.class_names:
        return None
    changes = corrections_between(uncorrected, dataset.train_ids, dataset.y)
    images = None if changes is None else _attempt(read, changes)
    if not isinstance(images, ImageSet) or images.fingerprint != study.fingerprint or images.corrections is None:
        return None
    return images if images.corrections.sentence == stored_corrections(dataset) else None


def open_for_training(folder: Path, study: Study, stores: Stores) -> ImageSet:
    """Read the images of a study for training, without decoding them.

    Values with more than 8 bits are scaled by the recorded ranges, so that all workers and the export see the same
    pixels. The labels are those with which the study was begun (`read_as_begun`).

    Raises:
        DataMismatch: the images are not those of the study.
        DataError: the data cannot be read.
    """
    dataset = stores.datasets.get(study.fingerprint)
    ranges = checked_ranges(dataset.summary.get(VALUE_RANGES, {}))

    def read(corrections: Sequence[Correction] | None) -> ImageSet:
        images = read_images(folder, study.spec.data.options, verify=False, ranges=ranges, corrections=corrections)
        return _as_recorded(images, dataset.summary)

    images = read_as_begun(read, study, stores)
    if images.fingerprint == study.fingerprint:
        return images
    about = about_corrections(dataset, images, recorded=stores.studies.corrections(study.id) is not None)
    unread = "".join(f"\n{warning}" for warning in images.warnings if warning.startswith("not read: "))
    raise DataMismatch(
        f"{folder} does not hold the images that this study was begun with (fingerprint {images.fingerprint[:12]}, "
        f"the study's is {study.fingerprint[:12]}). {about}Point --data at the original "
        f"folder, or begin a study of these images: `{study.beginning_another(folder)}`{unread}"
    )
