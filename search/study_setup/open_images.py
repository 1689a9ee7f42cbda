"""The images of a stored study, read as its data set records them: corrected, relabelled, or by their index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.study_setup.data_folder import VALUE_RANGES, DataMismatch, about_corrections
from search.study_state.study import Study
from storage.stores import Stores
from trainer.common.errors import listed
from trainer.data.image_set import DataOptions, ImageSet
from trainer.data.read import read_images
from trainer.inference.pixel_values import checked_ranges

RELABELLED = "relabelled"
"""Key of `storage.records.datasets.StoredDataset.summary`, of a pre-training: the coarser label of each class of the
folder, or None where the labels stay. The images are then the training images of the folder (`pretraining_images`).
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
        f"folder, or begin a study of these images: `search start --study FILE --name NAME`{unread}"
    )
