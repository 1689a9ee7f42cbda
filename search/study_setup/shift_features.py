"""The features by which training and test images are compared: of a frozen backbone, else descriptors of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.study_setup.data_folder import Competition, progress_line
from trainer.data.folds import fold_groups
from trainer.data.inspection import Progress
from trainer.shift.descriptors import describe_images
from trainer.shift.embeddings import available_extractor, embed, load_extractor

Say = Callable[[str], Progress]
"""Called with the name of a step. It returns a function to be called with (images done, images in total)."""


@contextmanager
def comparison_progress(console: Console) -> Iterator[Say]:
    """The progress of the comparison of training with test images, on the console."""
    with progress_line(console, "Comparing training with test images …") as update:

        def say(step: str) -> Progress:
            label = f"{step[:1].upper() + step[1:]} …"
            update(label)
            return lambda done, total: update(f"{label} {done} of {total}")

        yield say


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of all images of a competition."""

    name: str
    """The kind of features, for people."""
    train: NDArray[np.float32]
    """Of the training images, float32 ``(n, d)``."""
    test: NDArray[np.float32]
    """Of the test images, float32 ``(m, d)``."""
    described: bool
    """Whether they are descriptors, whose first columns are `trainer.shift.descriptors.SCALARS`."""


def shift_features(competition: Competition, *, backbone: str | None, weights: Path | None, say: Say) -> Features:
    """Compute features of all images; there must be test images.

    Args:
        backbone: the backbone that extracts features; None: the first good one whose pre-trained weights are at hand,
            or descriptors of the pixels if there is none.
        weights: folder of pre-trained weights.
        say: called with each step.

    Raises:
        BackboneError: the backbone cannot be used, or the weights folder does not exist.
        DataError: an image can no longer be read.
    """
    both = (competition.images.train_images, competition.images.test_images)
    name = backbone or available_extractor(weights)
    if name is None:
        train, test = (
            describe_images(images, say(f"describing {part} images"))
            for images, part in zip(both, ("training", "test"), strict=True)
        )
        return Features(
            name="descriptors of the pixels",
            train=train,
            test=test,
            described=True,
        )
    import torch

    model, size = load_extractor(name, weights, "cuda" if torch.cuda.is_available() else "cpu")
    train, test = (
        embed(model, images, size=size, progress=say(f"extracting features of {part} images with {name}"))
        for images, part in zip(both, ("training", "test"), strict=True)
    )
    return Features(name=f"frozen features of {name}", train=train, test=test, described=False)


def shift_groups(competition: Competition) -> NDArray[np.int64]:
    """Groups of images that a fold must not divide, int64 ``(n + m,)``, training images first.

    Training images have the groups of the study's folds. A test image joins the group of a training image that it is a
    near-duplicate of.
    """
    train_groups = fold_groups(competition.images, competition.duplicates.groups)
    duplicates = competition.duplicates.groups
    n = len(train_groups)
    group_of_duplicates = {int(group): int(train_groups[i]) for i, group in enumerate(duplicates[:n])}
    test_groups = [group_of_duplicates.setdefault(int(group), n + i) for i, group in enumerate(duplicates[n:])]
    return np.concatenate([train_groups, np.array(test_groups, np.int64)])
