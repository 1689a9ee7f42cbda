"""Small images for tests, and helpers of the data tests."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainer.data.read import DataError, DataOptions, ImageSet, read_images


def _npy(header: str) -> bytes:
    """The beginning of a ``.npy`` file."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


NO_ARRAYS = {
    "zip": b"PK\x03\x04",
    "cut header": _npy("{'descr': '<f4', 'shape': (60, 2"),
    "indented header": _npy("  a\n b\n   c"),
    "many elements": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 2)}\n"),
    "too many elements": _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30}, 2)}}\n"),
    "negative length": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-60, 2)}\n"),
}
"""Contents of files that NumPy refuses with errors of different types."""


def sample_image(seed: int, side: int = 24) -> NDArray[np.uint8]:
    """An image of coarse coloured patches, uint8 (side, side, 3); two seeds give clearly different images."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def save(path: Path, seed: int, side: int = 24) -> Path:
    """Write `sample_image` to ``path``, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample_image(seed, side)).save(path)
    return path


def fill_disk(monkeypatch: pytest.MonkeyPatch, code: int, room: int) -> None:
    """Let each file that `Path.open` opens in mode "wb" fail with errno ``code`` after ``room`` bytes."""

    class FullDisk(io.FileIO):
        def write(self, data: Any) -> int:
            rest = room - self.tell()
            super().write(bytes(data)[: max(rest, 0)])
            if rest < len(data):
                raise OSError(code, os.strerror(code))
            return len(data)

    original = Path.open

    def limited(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return io.BufferedWriter(FullDisk(self, "w")) if mode == "wb" else original(self, mode, *args, **options)

    monkeypatch.setattr(Path, "open", limited)


def file_name(identifier: str) -> str:
    """File name of an image id, which may lack its extension."""
    return identifier if "." in identifier else f"{identifier}.png"


def problems_of(folder: Path, options: DataOptions | None = None) -> str:
    """Message of the DataError that reading ``folder`` raises."""
    with pytest.raises(DataError) as caught:
        read_images(folder, options)
    return str(caught.value)


def labels_of(image_set: ImageSet) -> list[str]:
    """Class name of each training image."""
    return [image_set.class_names[label] for label in image_set.y]
