"""Metadata that may reveal the test set (a leak): image sides, file sizes and file formats."""

from __future__ import annotations

import numpy as np

from trainer.common.arrays import Float64Array
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages, Images
from trainer.data.inspection import InspectedImages, inspect_images
from trainer.inference.errors import ImageError


def metadata_features(image_set: ImageSet) -> dict[str, Float64Array]:
    """Metadata of n training images, then m test images, by kind: float64 ``(n + m, d)`` each.

    The kinds are ``image sides`` (height, width, aspect ratio), ``file size`` (bytes) and ``file format`` (one-hot, by
    extension). A kind that is equal for all images is left out.

    Raises:
        DataError: files that cannot be read. Every one is named.
    """
    parts = (image_set.train_images, image_set.test_images)
    inspected = image_set.inspected or InspectedImages.joined([inspect_images(images)[0] for images in parts])
    height, width = inspected.sizes.astype(np.float64).T
    found = {"image sides": np.stack([height, width, width / np.maximum(height, 1)], axis=1)}
    if all(isinstance(images, FileImages) for images in parts):
        found["file size"] = np.concatenate([_file_sizes(images) for images in parts])[:, None]
        found["file format"] = _formats(
            [path for images in parts if isinstance(images, FileImages) for path in images.paths]
        )
    return {name: features for name, features in found.items() if np.ptp(features, axis=0).any()}


def _file_sizes(images: Images) -> Float64Array:
    sizes = np.zeros(len(images))
    problems = []
    for index in range(len(images)):
        try:
            sizes[index] = len(images.content(index))
        except ImageError as error:
            problems.append(f"{images.name(index)}: {error}")
    if problems:
        raise DataError(problems)
    return sizes


def _formats(paths: list[str]) -> Float64Array:
    """One-hot file extensions, one column each."""
    extensions = [path.rpartition(".")[2].lower().replace("jpeg", "jpg") for path in paths]
    known = sorted(set(extensions))
    return np.array([[float(extension == other) for other in known] for extension in extensions])
