"""Find the arrays of images and of labels in a data folder, by the names of ``.npz`` and ``.npy`` files and keys."""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.data.names.own_files import is_visible
from trainer.data.names.parts import split_of
from trainer.data.names.words import words_in
from trainer.data.readers.matching.id_spellings import has_image_suffix
from trainer.formats.part_words import Part
from trainer.formats.parts import part_of
from trainer.inference.arrays import KEY
from trainer.inference.printable import printable

Content = Literal["images", "labels"]

_LABEL_WORDS = ("label", "lbl", "target", "class")
"""Beginnings of words for labels."""
_IMAGE_WORDS = ("image", "img", "data", "pic", "photo", "pixel", "input", "sample", "frame")
"""Beginnings of words for images."""
_OF_EACH_IMAGE = frozenset((
    "split", "splits", "partition", "subset", "fold", "folds", "patient", "patients", "subject", "subjects",
))  # fmt: skip
"""Last words of the names of arrays that say something else about each image: ``data_split``."""
_JOINED = re.compile(r"([xy])(train|test|val|valid|dev)|(train|test|val|valid|dev)([xy])")
"""Names such as ``xtrain``, in lower case."""


@dataclass(frozen=True, kw_only=True)
class NamedArray:
    """An array in a file.

    key: in an ``.npz`` file; None: the file is an ``.npy`` file.
    content: what it holds by its name; None: the name does not say.
    """

    path: Path
    key: str | None
    part: Part
    content: Content | None

    @property
    def name(self) -> str:
        """The array's name in messages."""
        return self.path.name if self.key in (None, KEY) else f"{self.path.name} {printable(self.key)}"


def find_arrays(folder: Path) -> list[NamedArray]:
    """The arrays of a folder that holds training images as arrays; empty if it does not.

    In ``NAME-train-imgs.npz`` with the key ``arr_0``, the file has the name. In other files the key has it, such as
    ``train_images``, ``x_train`` or ``X``; these count only where the folder holds no image files.
    """
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".npz", ".npy")]
    files = [path for path in files if path.is_file() and is_visible(path.name)]
    if not files:
        return []
    arrays = [_named(path, key) for path in files for key in _keys(path)]
    if any(array.key == KEY and split_of(array.path.stem) == "train" for array in arrays):
        return arrays
    found = any((array.part, array.content) == ("train", "images") for array in arrays)
    return arrays if found and not _holds_image_files(folder) else []


def _keys(path: Path) -> list[str] | list[None]:
    """The keys of an ``.npz`` file. One that cannot be read is said to hold `KEY`: reading it says what is wrong."""
    if path.suffix.lower() == ".npy":
        return [None]
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")] or [KEY]
    except (OSError, zipfile.BadZipFile):
        return [KEY]


def _named(path: Path, key: str | None) -> NamedArray:
    part, content = _meaning(path.stem)
    if key == KEY and (split := split_of(path.stem)) is not None:
        is_label = any(word in path.stem.lower() for word in _LABEL_WORDS)
        return NamedArray(path=path, key=key, part=split, content="labels" if is_label else "images")
    if key not in (None, KEY):
        of_key, own = _meaning(key)
        part, content = of_key or part, own or content
    return NamedArray(path=path, key=key, part=part or "train", content=content)


def _meaning(name: str) -> tuple[Part | None, Content | None]:
    """The part and the content that a name mentions: ``x_train``, ``testLabels``, ``images``."""
    words = words_in(name)
    if joined := _JOINED.fullmatch(name.lower()):
        words = [word for word in joined.groups() if word]
    parts = {part for word in words if (part := part_of(word))}
    part = parts.pop() if len(parts) == 1 else None
    if words and words[-1] in _OF_EACH_IMAGE:
        return part, None
    content: Content | None = None
    if "y" in words or any(word.startswith(_LABEL_WORDS) for word in words):
        content = "labels"
    elif "x" in words or any(word.startswith(_IMAGE_WORDS) for word in words):
        content = "images"
    return part, content


def _holds_image_files(folder: Path) -> bool:
    return any(has_image_suffix(name) for _, _, names in os.walk(folder) for name in names)
