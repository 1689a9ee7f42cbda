"""Where pictures come from: files in a folder, or rows of an array. Both decode one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.inference.images import ImageError, array_image, read_image


class Images(Protocol):
    """A sequence of pictures, decoded on demand. Can be pickled; safe to use from several threads."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode one picture: uint8 (height, width, 3), RGB.

        Raises:
            trainer.inference.images.ImageError: the picture cannot be used; the message is the cause alone.
        """

    def name(self, index: int) -> str:
        """What messages call the picture: its file, and the table row that names it, or its place in an array."""

    def content(self, index: int) -> bytes:
        """The picture as it is stored, for hashing.

        Raises:
            trainer.inference.images.ImageError: the file cannot be read.
        """

    def subset(self, indices: Sequence[int]) -> Images:
        """The pictures at ``indices``, in that order."""


@dataclass(frozen=True, kw_only=True)
class FileImages:
    """Image files: ``paths`` are relative to ``root`` and were checked to lie inside it by the reader."""

    root: Path
    paths: tuple[str, ...]
    named_by: tuple[str, ...] = ()
    """For messages, what lists each file (``train.csv row 7``); empty where no table does."""

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.root / self.paths[index])

    def name(self, index: int) -> str:
        return f"{self.paths[index]} ({self.named_by[index]})" if self.named_by else self.paths[index]

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
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayImages:
    """Pictures in one array (n, height, width) or (n, height, width, 1 or 3), integers or floats 0..255."""

    label: str
    """What messages call the array: ``christ-train-imgs.npz arr_0``."""
    array: NDArray[Any]
    rows: tuple[int, ...]
    """The rows of ``array`` that count, by index from 0."""

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> NDArray[np.uint8]:
        return array_image(self.array[self.rows[index]])

    def name(self, index: int) -> str:
        return f"{self.label}[{self.rows[index]}]"

    def content(self, index: int) -> bytes:
        picture: NDArray[Any] = self.array[self.rows[index]]
        data: bytes = picture.tobytes()
        return f"{picture.dtype.str} {picture.shape} ".encode() + data

    def subset(self, indices: Sequence[int]) -> ArrayImages:
        return ArrayImages(label=self.label, array=self.array, rows=tuple(self.rows[i] for i in indices))
