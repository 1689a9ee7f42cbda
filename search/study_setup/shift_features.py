"""The features by which training and test images are compared: of a frozen backbone, else descriptors of the pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from search.study_setup.backbone_features import BackboneFeatures, Say
from search.study_setup.data_folder import Competition, progress_line
from trainer.data.folds import fold_groups
from trainer.data.inspection import Progress
from trainer.shift.descriptors import describe_images

_LEAST_LEFT = 2.0  # seconds; a shorter rest of a step is not shown


@contextmanager
def comparison_progress(console: Console) -> Iterator[Say]:
    """Progress lines for the comparison of images, with the estimated rest of each step."""
    with progress_line(console, "Comparing images …") as update:

        def say(step: str) -> Progress:
            label = f"{step[:1].upper() + step[1:]} …"
            update(label)
            begun = time.monotonic()

            def show(done: int, total: int) -> None:
                left = (time.monotonic() - begun) * (total - done) / done if done else 0.0
                update(f"{label} {done} of {total}" + f", about {left:.0f} s left" * (left >= _LEAST_LEFT))

            return show

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


def shift_features(competition: Competition, found: BackboneFeatures | None, say: Say) -> Features:
    """The features by which training and test images are compared; there must be test images.

    Args:
        found: features of a backbone; None: descriptors of the pixels are computed.
        say: called with each step.

    Raises:
        DataError: an image can no longer be read.
    """
    if found is not None:
        return Features(name=f"frozen features of {found.name}", train=found.train, test=found.test, described=False)
    both = (competition.images.train_images, competition.images.test_images)
    train, test = (
        describe_images(images, say(f"describing {part} images"))
        for images, part in zip(both, ("training", "test"), strict=True)
    )
    return Features(name="descriptors of the pixels", train=train, test=test, described=True)


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
