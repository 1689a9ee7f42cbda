"""Resized test images that are also training images: a further file of the pixel cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from trainer.batches.pixel_cache import Pixels, is_whole, write_images, writing_errors
from trainer.common.cache_files import mark_in_use
from trainer.common.files import replacing


def with_repeated(pixels: Pixels, rows: NDArray[np.int64], folder: Path) -> Pixels:
    """The same images, with copies of test images after the training images.

    The copies are a file of their own, because batches are read from one memory map by all processes.

    Args:
        rows: of the test images, in the order of the copies; an image may occur several times.
        folder: of the pixel cache.

    Raises:
        DataError: as `trainer.batches.pixel_cache.open_pixels`.
    """
    digest = hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()[:16]
    path = folder / f"{pixels.path.stem}-repeated{len(rows)}-{digest}.npy"
    copied = Pixels(path=path, n_train=pixels.n_train + len(rows), n_test=pixels.n_test, size=pixels.size)
    shape = (copied.n_train + copied.n_test, pixels.size, pixels.size, 3)

    def images() -> Iterator[NDArray[np.uint8]]:
        yield from pixels.train
        for row in rows:
            yield pixels.test[row]
        yield from pixels.test

    with writing_errors(path, shape), FileLock(path.with_suffix(".lock")):
        if not is_whole(path, shape):
            with replacing(path) as temporary:
                write_images(temporary, shape, images())
        mark_in_use(path, copied)
    return copied
