"""Small competitions cut from a large labelled set, with a private test set whose labels are known.

A competition has 13 imbalanced classes and 654 training images, as many as the painting competition of 2021 had. The
remaining images of these classes form the private test set. Its scores weight each class by its frequency in the
training images, so that out-of-fold and private scores estimate the same quantity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COUNTS = (132, 66, 60, 60, 48, 42, 42, 42, 42, 30, 30, 30, 30)
"""Training images of each class, the most frequent first."""
LEFT_OUT = ("BACKGROUND_Google", "Faces_easy")
"""Folders of Caltech 101 that are no class of their own: mixed images, and copies of another class."""
TEST_SHARE = 0.3
"""Smallest share of a class's images in the private test set."""
MAX_TEST = 400
"""Most test images of one class, to save time."""
STORED_SIDE = 64  # pixels of the shorter side


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallCompetition:
    """A competition on disk: ``folder/train/CLASS/*.jpg`` and ``folder/test/*.jpg``."""

    folder: Path
    class_names: tuple[str, ...]
    """Sorted, in the order of their numbers in a folder layout."""
    counts: NDArray[np.int64]
    """Training images of each class, ``(C,)``."""
    test_ids: tuple[str, ...]
    test_y: NDArray[np.int64]
    """True class of each test image, ``(m,)``."""

    def weights(self) -> NDArray[np.float64]:
        """Weight of each test image, ``(m,)``, sum 1; classes weigh as much as in the training images."""
        prior = self.counts / self.counts.sum()
        return np.asarray((prior / np.bincount(self.test_y, minlength=len(prior)))[self.test_y], dtype=np.float64)

    def private_score(self, predicted: NDArray[np.int64]) -> float:
        """Weighted accuracy of predicted classes ``(m,)`` on the private test set."""
        return float(self.weights()[predicted == self.test_y].sum())


def cut(source: Path, folder: Path, seed: int) -> SmallCompetition:
    """Draw a competition from ``source``, a folder with a subfolder for each class, and write it to ``folder``.

    Raises:
        ValueError: ``source`` has too few classes with enough images.
    """
    generator = np.random.default_rng(seed)
    files = {
        class_dir.name: sorted(class_dir.glob("*.jpg"))
        for class_dir in sorted(source.iterdir())
        if class_dir.is_dir() and class_dir.name not in LEFT_OUT
    }
    drawn: dict[str, int] = {}
    for count in COUNTS:
        needed = count / (1.0 - TEST_SHARE)
        large_enough = [name for name, images in files.items() if len(images) >= needed and name not in drawn]
        if not large_enough:
            raise ValueError(f"{source} has no further class of {needed:.0f} images or more")
        drawn[str(generator.choice(large_enough))] = count
    names = tuple(sorted(drawn))
    test_ids: list[str] = []
    test_y: list[int] = []
    for label, name in enumerate(names):
        order = generator.permutation(len(files[name]))
        train, test = order[: drawn[name]], order[drawn[name] :][:MAX_TEST]
        for index in train:
            _shrink(files[name][index], folder / "train" / name / f"{index:04}.jpg")
        for index in test:
            identifier = f"{len(test_ids):05}.jpg"
            _shrink(files[name][index], folder / "test" / identifier)
            test_ids.append(identifier)
            test_y.append(label)
    return SmallCompetition(
        folder=folder,
        class_names=names,
        counts=np.array([drawn[name] for name in names], dtype=np.int64),
        test_ids=tuple(test_ids),
        test_y=np.array(test_y, dtype=np.int64),
    )


def _shrink(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        scale = STORED_SIDE / min(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(target, quality=95)
