"""Images that are decoded one at a time: files in a folder, or rows of an array."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.common.environment import usable_cores
from trainer.common.errors import DataError
from trainer.inference.arrays import array_image
from trainer.inference.errors import ImageError
from trainer.inference.images import read_image
from trainer.inference.pixel_values import Ranges
from trainer.inference.printable import printable


class Images(Protocol):
    """A sequence of images, decoded on demand. It can be pickled, and several threads may use it at once."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode one image: uint8 (height, width, 3), RGB.

        Raises:
            trainer.inference.errors.ImageError: the image cannot be used. The message is the cause alone, without the
                name of the image.
        """

    def name(self, index: int) -> str:
        """The image's name in messages: its file and the table row that lists it, or its position in an array."""

    def content(self, index: int) -> bytes:
        """The stored bytes of the image, for hashing.

        Raises:
            trainer.inference.errors.ImageError: the file cannot be read.
        """

    def subset(self, indices: Sequence[int]) -> Images:
        """The images at ``indices``, in that order."""


@dataclass(frozen=True, kw_only=True)
class FileImages:
    """Image files. ``paths`` are relative to ``root``; the reader has checked that they lie inside it."""

    root: Path
    paths: tuple[str, ...]
    named_by: tuple[str, ...] = ()
    """The table row that lists each file, for messages (``train.csv row 7``). Empty where no table lists them."""
    ranges: Ranges = field(default_factory=dict)
    """Ranges by which values with more than 8 bits are scaled."""

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.root / self.paths[index], self.ranges)

    def name(self, index: int) -> str:
        path = printable(self.paths[index])
        return f"{path} ({self.named_by[index]})" if self.named_by else path

    def content(self, index: int) -> bytes:
        try:
            return (self.root / self.paths[index]).read_bytes()
        except OSError as error:
            raise ImageError(f"the file cannot be read: {error.strerror or error}") from error

    def subset(self, indices: Sequence[int]) -> FileImages:
        return FileImages(
            root=self.root,
            paths=tuple(self.paths[i] for i in indices),
            named_by=tuple(self.named_by[i] for i in indices) if self.named_by else (),
            ranges=self.ranges,
        )


@dataclass(frozen=True, kw_only=True)
class ChosenImages:
    """Images of several sequences, in any order; an image may occur more than once."""

    parts: tuple[Images, ...]
    chosen: tuple[tuple[int, int], ...]
    """The part of each image, and its index there."""

    @staticmethod
    def joined(*parts: Images) -> ChosenImages:
        """All images of the parts, one part after another."""
        places = [(number, index) for number, part in enumerate(parts) for index in range(len(part))]
        return ChosenImages(parts=parts, chosen=tuple(places))

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> NDArray[np.uint8]:
        part, place = self.chosen[index]
        return self.parts[part].read(place)

    def name(self, index: int) -> str:
        part, place = self.chosen[index]
        return self.parts[part].name(place)

    def content(self, index: int) -> bytes:
        part, place = self.chosen[index]
        return self.parts[part].content(place)

    def subset(self, indices: Sequence[int]) -> ChosenImages:
        return ChosenImages(parts=self.parts, chosen=tuple(self.chosen[i] for i in indices))


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayImages:
    """Images in one array (n, height, width) or (n, height, width, 1 or 3) of integers or floats in 0..255."""

    label: str
    """The array's name in messages, such as ``pathmnist.npz train_images``."""
    array: NDArray[Any]
    rows: tuple[int, ...]
    """Indices of the rows of ``array`` that make up the sequence, from 0."""

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> NDArray[np.uint8]:
        return array_image(self.array[self.rows[index]])

    def name(self, index: int) -> str:
        return f"{self.label}[{self.rows[index]}]"

    def content(self, index: int) -> bytes:
        image: NDArray[Any] = self.array[self.rows[index]]
        data: bytes = image.tobytes()
        return f"{image.dtype.str} {image.shape} ".encode() + data

    def subset(self, indices: Sequence[int]) -> ArrayImages:
        return ArrayImages(label=self.label, array=self.array, rows=tuple(self.rows[i] for i in indices))


def content_digests(images: Images) -> list[bytes]:
    """SHA-256 of the stored bytes of every image, computed on all cores.

    Raises:
        DataError: image files that cannot be read. Every one is named.
    """

    def digest_or_problem(index: int) -> bytes | str:
        try:
            return hashlib.sha256(images.content(index)).digest()
        except ImageError as error:
            return f"{images.name(index)}: {error}"

    with ThreadPoolExecutor(usable_cores()) as pool:
        results = list(pool.map(digest_or_problem, range(len(images))))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise DataError(problems)
    return [result for result in results if isinstance(result, bytes)]
