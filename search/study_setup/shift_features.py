"""What training and test images are compared by: features of a frozen backbone at hand, else of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from search.study_setup.data_folder import Competition
from trainer.data.folds import fold_groups
from trainer.data.inspection import Progress
from trainer.shift.descriptors import describe_images
from trainer.shift.embeddings import available_extractor, embed, load_extractor

Say = Callable[[str], Progress]
"""Called with what is being done; what it returns is called with (images done, images in all)."""


@contextmanager
def aloud(console: Console) -> Iterator[Say]:
    """A line on the terminal that says how far the comparison is."""
    with console.status("Comparing training with test images …") as status:

        def say(what: str) -> Progress:
            doing = f"{escape(what[:1].upper() + what[1:])} …"
            status.update(doing)
            return lambda done, total: status.update(f"{doing} {done} of {total}")

        yield say


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What the images are compared by."""

    name: str
    train: NDArray[np.float32]
    """``(n, d)``"""
    test: NDArray[np.float32]
    """``(m, d)``"""
    described: bool
    """Whether the first columns are `trainer.shift.descriptors.SCALARS`, for want of a pre-trained backbone."""


def shift_features(competition: Competition, *, backbone: str | None, weights: Path | None, say: Say) -> Features:
    """Features of all images, of which some are test images.

    Args:
        backbone: whose frozen features; None: those of the first good one at hand, else descriptors.
        weights: folder of pre-trained weights.

    Raises:
        BackboneError: a backbone that cannot be used, or a weights folder that does not exist.
        DataError: images that can no longer be read.
    """
    parts = (competition.images.train_images, competition.images.test_images)
    name = backbone or available_extractor(weights)
    if name is None:
        train, test = (
            describe_images(images, say(f"describing {which} images"))
            for images, which in zip(parts, ("training", "test"), strict=True)
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
        embed(model, images, size=size, progress=say(f"{name} looks at {which} images"))
        for images, which in zip(parts, ("training", "test"), strict=True)
    )
    return Features(name=f"frozen features of {name}", train=train, test=test, described=False)


def shift_groups(competition: Competition) -> NDArray[np.int64]:
    """What must not be on both sides of a fold, int64 ``(n + m,)``: groups of the training images as their folds have
    them, and each test image with the training images that it is a near-duplicate of.
    """
    of_training = fold_groups(competition.images, competition.duplicates.groups)
    duplicates = competition.duplicates.groups
    n = len(of_training)
    joined = {int(group): int(of_training[i]) for i, group in enumerate(duplicates[:n])}
    rest = [joined.setdefault(int(group), n + i) for i, group in enumerate(duplicates[n:])]
    return np.concatenate([of_training, np.array(rest, np.int64)])
