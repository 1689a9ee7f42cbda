"""Small pictures of images for the report, all of them in one JPEG."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.runtime.home import Home
from search.study_setup.data_folder import DataMismatch, known_folder
from search.study_setup.open_images import open_for_training
from search.study_state.study import Study
from storage.stores import Stores
from trainer.common.cache_files import mapped_array
from trainer.common.errors import TrainerError
from trainer.inference.errors import ImageError
from trainer.inference.images import resize_image

SIDES = (64, 56, 48, 40, 32, 24)
"""Sides of the pictures, in pixels: the largest whose sheet is small enough is taken."""
QUALITIES = (80, 65, 50)
MOST_BYTES = 1_100_000
"""Of a sheet; as text in the report it takes a third more."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Pictures side by side, row after row, in one JPEG."""

    uri: str
    """The JPEG as a ``data:`` address."""
    side: int
    """Of a picture, in pixels."""
    columns: int
    rows: int


def read_thumbnails(stores: Stores, study: Study, home: Home, rows: Sequence[int], side: int) -> NDArray[np.uint8]:
    """Pictures of images of a study, decoded as for training: those of the cache, else of the folder of images.

    Args:
        rows: indices, training images first, then test images.

    Returns:
        uint8, ``(len(rows), side, side, 3)``; empty, ``(0, side, side, 3)``, where this machine has no images or can no
        longer read them.
    """
    dataset = stores.datasets.get(study.fingerprint)
    cached = _cached_pixels(home, study.fingerprint, len(dataset.y) + len(dataset.test_ids), side)
    if cached is not None:
        pictures = (_resized(np.array(cached[row]), side) for row in rows)
        return np.stack(list(pictures)) if rows else np.zeros((0, side, side, 3), np.uint8)
    folder = known_folder(stores, study.stored)
    if folder is None or not rows:
        return np.zeros((0, side, side, 3), np.uint8)
    try:
        images, n = open_for_training(folder, study, stores), len(dataset.y)
        decoded = [images.train_images.read(row) if row < n else images.test_images.read(row - n) for row in rows]
        return np.stack([resize_image(image, side, "pad", "bilinear") for image in decoded])
    except (DataMismatch, TrainerError, ImageError, OSError) as problem:  # moved, changed or damaged since the begin
        log.warning("the report has no pictures of the images: %s", problem)
        return np.zeros((0, side, side, 3), np.uint8)


def sheet_of(pictures: NDArray[np.uint8]) -> Sheet | None:
    """The pictures as one sheet of `MOST_BYTES` at most, smaller and coarser if need be; None without any.

    Args:
        pictures: uint8, ``(k, side, side, 3)``.
    """
    if not len(pictures):
        return None
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    content = b""
    for side, quality in ((side, quality) for side in SIDES for quality in QUALITIES):
        if side > pictures.shape[1]:
            continue
        sheet = Image.new("RGB", (columns * side, rows * side))
        for i, picture in enumerate(pictures):
            small = Image.fromarray(_resized(picture, side))
            sheet.paste(small, (i % columns * side, i // columns * side))
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=quality)
        content = file.getvalue()
        if len(content) <= MOST_BYTES:
            text = base64.b64encode(content).decode("ascii")
            return Sheet(uri=f"data:image/jpeg;base64,{text}", side=side, columns=columns, rows=rows)
    return None


def _cached_pixels(home: Home, fingerprint: str, count: int, side: int) -> NDArray[np.uint8] | None:
    """The smallest cached images of a data set that are large enough (`trainer.batches.pixel_cache`)."""
    found = []
    for path in sorted(home.pixels.glob(f"{fingerprint[:32]}-*.npy")):
        mapped = mapped_array(path)
        if mapped is not None and mapped.dtype == np.uint8 and mapped.ndim == 4 and len(mapped) == count:
            height, width, channels = mapped.shape[1:]
            if height == width and channels == 3 and height >= side:
                found.append((height, path.name, mapped))
    return min(found, key=lambda each: each[:2])[2] if found else None


def _resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if picture.shape[:2] == (side, side):
        return picture
    image = Image.fromarray(picture)
    return np.asarray(
        image.resize((side, side), Image.Resampling.BOX if image.width >= side else Image.Resampling.BILINEAR)
    )
