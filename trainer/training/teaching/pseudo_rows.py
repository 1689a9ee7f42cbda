"""Test images with pseudo-labels as further rows of the training parts, which are never scored.

Each fold may have pseudo-labels of its own, from teachers that have not seen what it holds out. A test image that has
different labels in two folds is two rows, and each training part has only those of its fold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.batches.pixel_cache import Pixels
from trainer.batches.repeated_pixels import with_repeated
from trainer.evaluation.pseudo_labels import NO_LABEL
from trainer.training.results import ALWAYS_TRAINED, CVResult, Labels, TrainingData


def with_pseudo_rows(
    data: TrainingData, labels: NDArray[np.int64], pixels: Pixels, cropped: Pixels | None, folder: Path
) -> TrainingData:
    """The data with pseudo-labelled test images in the training parts.

    The rows come after the training images. No fold holds them out, so no score counts them.

    Args:
        data: of ``pixels`` and ``cropped``, without rows that are left out.
        labels: by fold, the class of each test image or `NO_LABEL`: int64 ``(K, m)``.
        pixels: training and test images.
        cropped: the same at a larger size, if the recipe has crops.
        folder: of the pixel cache, to which copies of the images are written.

    Raises:
        ValueError: ``labels`` have another shape, or ``data`` have rows that are left out, suspicious rows or soft
            targets.
        DataError: the copies cannot be written.
    """
    if labels.shape != (data.num_folds, len(pixels.test)):
        raise ValueError(f"labels of shape {labels.shape}, not ({data.num_folds}, {len(pixels.test)})")
    if data.left_out is not None or data.suspects is not None or data.soft_targets is not None:
        raise ValueError("pseudo-labels go with plain labels alone")
    rows, classes, left_out = pseudo_rows(labels)
    first, weights = len(data.y), data.image_weights
    return replace(
        data,
        pixels=with_repeated(pixels, rows, folder),
        cropped=None if cropped is None else with_repeated(cropped, rows, folder),
        y=np.concatenate([data.y, classes]),
        folds=np.concatenate([data.folds, np.full(len(rows), ALWAYS_TRAINED, np.int64)]),
        image_weights=None if weights is None else np.concatenate([weights, np.ones(len(rows))]),
        # Features of these rows are of no use to others, who look for those of the training images.
        fingerprint=None,
        left_out=tuple(first + each for each in left_out),
    )


def pseudo_rows(labels: NDArray[np.int64]) -> tuple[Labels, Labels, list[Labels]]:
    """The rows that pseudo-labels make.

    Args:
        labels: as for `with_pseudo_rows`.

    Returns:
        Test image and class of each row, int64 ``(p,)``, and for each fold the rows that are not of its labels.
    """
    folds, images = np.nonzero(labels != NO_LABEL)
    pairs = np.unique(np.stack([images, labels[folds, images]], axis=1), axis=0)
    rows, classes = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    return rows, classes, [np.flatnonzero(of_fold[rows] != classes).astype(np.int64) for of_fold in labels]


def without_pseudo_rows(result: CVResult, images: int) -> CVResult:
    """The result for the training images alone, which are the first rows.

    Args:
        images: number of training images.
    """

    def kept(proba: NDArray[np.float32]) -> NDArray[np.float32]:
        return proba[:images]

    return replace(
        result,
        oof=kept(result.oof),
        oof_views={view: kept(proba) for view, proba in result.oof_views.items()},
        reports=tuple(replace(report, true_class=report.true_class[:images]) for report in result.reports),
    )
