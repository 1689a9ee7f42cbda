"""What gives a part of a data set away without a look at the pictures: their sides, their files' sizes and endings."""

from __future__ import annotations

import numpy as np

from trainer.common.arrays import Float64Array
from trainer.common.errors import DataError
from trainer.data.image_set import ImageSet
from trainer.data.images import FileImages, Images
from trainer.data.inspection import look_at
from trainer.inference.images import ImageError


def leaks_of(image_set: ImageSet) -> dict[str, Float64Array]:
    """Features by what they are of, each ``(n + m, d)``, training images first: ``image sides``, ``file size`` and
    ``file format`` (by its ending), as far as they differ between any two images at all.

    Raises:
        DataError: files that cannot be read.
    """
    parts = (image_set.train_images, image_set.test_images)
    sizes = image_set.looks.sizes if image_set.looks else np.concatenate([look_at(images)[0].sizes for images in parts])
    height, width = sizes.astype(np.float64).T
    found = {"image sides": np.stack([height, width, width / np.maximum(height, 1)], axis=1)}
    if all(isinstance(images, FileImages) for images in parts):
        found["file size"] = np.concatenate([_bytes(images) for images in parts])[:, None]
        found["file format"] = _formats(
            [path for images in parts if isinstance(images, FileImages) for path in images.paths]
        )
    return {name: features for name, features in found.items() if np.ptp(features, axis=0).any()}


def _bytes(images: Images) -> Float64Array:
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
    """One column per ending, as 0 and 1."""
    endings = [path.rpartition(".")[2].lower().replace("jpeg", "jpg") for path in paths]
    known = sorted(set(endings))
    return np.array([[float(ending == one) for one in known] for ending in endings])
