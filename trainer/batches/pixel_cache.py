"""Cache of resized images: each set is resized once per host and memory-mapped by every training process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from trainer.common.cache_files import mapped_array, mark_in_use
from trainer.common.environment import usable_cores
from trainer.common.errors import DataError
from trainer.common.files import DISK_FULL, replacing
from trainer.data.image_set import ImageSet
from trainer.data.images import Images
from trainer.data.inspection import Progress
from trainer.inference.errors import ImageError
from trainer.inference.images import resize_image

CROP_MARGIN = 1.25
"""Side of the images that random crops are cut from, as a multiple of the side of the network's input.

A crop of 64 % of the area then has the full resolution of the network's input, and smaller crops lose less detail. A
larger margin would slow down reading and add little detail."""
_CHUNK = 256  # images that are decoded before they are written; bounds the memory


class Pixels:
    """Resized images in a memory-mapped file: uint8, train (n, size, size, 3) and test (m, size, size, 3), RGB.

    The arrays are read-only. A pickle holds the path and the numbers only, because a pickled memory map would be a copy
    of all images; each process maps the file on first use.
    """

    def __init__(self, *, path: Path, n_train: int, n_test: int, size: int) -> None:
        self.path = path
        self.n_train = n_train
        self.n_test = n_test
        self.size = size
        self._map: NDArray[np.uint8] | None = None

    @property
    def train(self) -> NDArray[np.uint8]:
        """The training images, in the order of the image set."""
        return self._mapped()[: self.n_train]

    @property
    def test(self) -> NDArray[np.uint8]:
        """The test images, in the order of the image set."""
        return self._mapped()[self.n_train :]

    def _mapped(self) -> NDArray[np.uint8]:
        if self._map is None:
            self._map = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


def side_to_crop_from(size: int) -> int:
    """Side of the images from which a network with ``size`` x ``size`` input takes random crops: a multiple of 8."""
    return math.ceil(size * CROP_MARGIN / 8) * 8


def open_pixels(
    image_set: ImageSet,
    *,
    size: int,
    resize: str,
    interpolation: str,
    folder: Path,
    with_test: bool = True,
    progress: Progress | None = None,
) -> Pixels:
    """Open the images of a set at ``size`` x ``size`` pixels; the first call on a host writes them to ``folder``.

    Processes that call this at the same time wait for the one that creates the file. The file appears complete or not
    at all. A file that is truncated or has another shape is created again. None is removed as long as the result lives
    (`trainer.common.cache_files`).

    Args:
        resize: "squash", "pad" or "crop", as in `trainer.inference.images.resize_image`.
        interpolation: one of `trainer.inference.images.INTERPOLATIONS`.
        with_test: include the test images.
        progress: called with (images done, images in total) while the file is created.

    Raises:
        DataError: images cannot be read (the error names all of them), or ``folder`` cannot be written to. In the
            second case ``__cause__`` is the OSError, whose ``errno`` is one of `trainer.common.files.DISK_FULL` if the
            disk is full.
    """
    n_train, n_test = len(image_set.train_ids), len(image_set.test_ids) if with_test else 0
    suffix = "" if with_test else "-train"
    scaled = "".join(
        f"-{kind[0]}{low:.17g}_{high:.17g}" for kind, (low, high) in sorted(image_set.value_ranges.items())
    )
    path = folder / f"{image_set.fingerprint[:32]}-{size}-{resize}-{interpolation}{scaled}{suffix}.npy"
    pixels = Pixels(path=path, n_train=n_train, n_test=n_test, size=size)
    shape = (n_train + n_test, size, size, 3)
    with writing_errors(path, shape):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not is_whole(path, shape):
                with replacing(path) as temporary:
                    resized = _resized(image_set, size, resize, interpolation, with_test, progress)
                    write_images(temporary, shape, resized)
            mark_in_use(path, pixels)
    return pixels


@contextmanager
def writing_errors(path: Path, shape: tuple[int, ...]) -> Iterator[None]:
    """Raise a DataError that helps where a file of the cache cannot be written.

    Args:
        shape: of its array.

    Raises:
        DataError: as `open_pixels`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            size_mib = -(-math.prod(shape) // 2**20)
            raise DataError(
                f"the disk is full: {size_mib:,} MiB of resized images do not fit into {path.parent} "
                f"({error.strerror})",
                advice="free space there, or choose smaller images",
            ) from error
        raise DataError(f"resized images cannot be written to {path}: {error.strerror or error}") from error


def is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether the file exists and holds an array of exactly this shape."""
    mapped = mapped_array(path)
    if mapped is None:
        return False
    return bool(mapped.shape == shape and mapped.dtype == np.uint8 and not np.isfortran(mapped))


def write_images(path: Path, shape: tuple[int, ...], images: Iterator[NDArray[np.uint8]]) -> None:
    """Write uint8 images one after another as a ``.npy`` file of this shape."""
    # Not a memory map, which would end in a bus error instead of an OSError if the disk is full.
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            file.write(np.ascontiguousarray(image).data)


def _resized(
    image_set: ImageSet, size: int, resize: str, interpolation: str, with_test: bool, progress: Progress | None
) -> Iterator[NDArray[np.uint8]]:
    """All images in order, training images first; decoded in parallel, at most `_CHUNK` ahead.

    Raises:
        DataError: at the end, with all images that could not be read.
    """
    sources = (image_set.train_images, image_set.test_images) if with_test else (image_set.train_images,)
    references: list[tuple[Images, int]] = [(images, index) for images in sources for index in range(len(images))]

    def read_or_problem(reference: tuple[Images, int]) -> NDArray[np.uint8] | str:
        images, index = reference
        try:
            return resize_image(images.read(index), size, resize, interpolation)
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    problems: list[str] = []
    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(references), _CHUNK):
            for result in pool.map(read_or_problem, references[start : start + _CHUNK]):
                done += 1
                if progress is not None:
                    progress(done, len(references))
                if isinstance(result, str):
                    problems.append(result)
                elif not problems:
                    yield result
    if problems:
        raise DataError(problems)
