"""Train/test shift for people: can training and test images be told apart, by what, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.competition import Competition
from trainer.descriptors import SCALARS, describe_images
from trainer.embeddings import embed, extractor_at_hand, load_extractor
from trainer.folds import fold_groups
from trainer.leaks import leaks_of
from trainer.looks import Progress
from trainer.shift import Shift, TooFewImages, importance_weights, measure_shift, striking_classes

ALIKE = 0.6  # area below which parts count as alike, however certain it is
DIFFERENT = 0.75  # area from which they differ plainly
APART = 0.9  # area from which hardly any training image is like the test images
SURE = 2.0  # standard errors from 0.5 that an area has to be, to mean anything
SHOWN = 5  # most test-like training images, and striking classes, that are listed

Say = Callable[[str], Progress]
"""Called with what is being done; what it returns is called with (images done, images in all)."""

_DIRECTIONS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "richer in contrast"),
    "saturation": ("paler", "more colourful"),
    "sharpness": ("more blurred", "sharper"),
    "blockiness": ("less compressed", "more compressed"),
}
"""Of each of `trainer.descriptors.SCALARS`: what test images are where theirs are lower, and where they are higher."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the images are compared by."""

    name: str
    train: NDArray[np.float32]
    """``(n, d)``"""
    test: NDArray[np.float32]
    """``(m, d)``"""
    described: bool
    """Whether the first columns are `trainer.descriptors.SCALARS`."""


def shift_lines(competition: Competition, *, backbone: str | None, weights: Path | None, say: Say) -> list[str]:
    """Measure the shift between training and test images, of which there are some, and tell it in lines.

    Args:
        backbone: whose frozen features to compare by; None: those of the first good one at hand, else descriptors.
        weights: folder of pre-trained weights.

    Raises:
        BackboneError: a backbone that cannot be used, or a weights folder that does not exist.
        DataError: images that can no longer be read.
    """
    images = competition.images
    groups = shift_groups(competition)
    n = len(images.train_ids)
    try:
        leaks = {
            name: measure_shift(values[:n], values[n:], groups, model="forest")
            for name, values in leaks_of(images).items()
        }
        features = _features(competition, backbone, weights, say)
        say("comparing training with test images")
        shift = measure_shift(features.train, features.test, groups)
    except TooFewImages as error:
        return [f"train/test shift: not measured: {error}"]
    lines = [
        f"train/test shift: {name} alone tells them apart, AUC {leak.auc:.2f} ± {leak.standard_error:.2f}: a leak, or "
        "a sign that they were made differently"
        for name, leak in leaks.items()
        if leak.auc > ALIKE and _is_sure(leak)
    ]
    lines.append(f"train/test shift by {features.name}: AUC {_told(shift)}")
    if not (_is_sure(shift) and shift.auc >= ALIKE):
        return lines
    if features.described:
        lines += [f"  {line}" for line in _how_they_look(features)]
    lines += [
        f"  {line}" for line in (*_most_alike(competition, shift), *_striking(competition, shift), _weighted(shift))
    ]
    return lines


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


def _features(competition: Competition, backbone: str | None, weights: Path | None, say: Say) -> Features:
    parts = (competition.images.train_images, competition.images.test_images)
    name = backbone or extractor_at_hand(weights)
    if name is None:
        train, test = (
            describe_images(images, say(f"describing {which} images"))
            for images, which in zip(parts, ("training", "test"), strict=True)
        )
        return Features(
            name="descriptors of the pixels (no pre-trained backbone is at hand)",
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


def _is_sure(shift: Shift) -> bool:
    return shift.auc - SURE * shift.standard_error > 0.5


def _told(shift: Shift) -> str:
    area = f"{shift.auc:.2f} ± {shift.standard_error:.2f}"
    if not _is_sure(shift) or shift.auc < ALIKE:
        return f"{area}: training and test images look alike"
    how = "differ" if shift.auc >= DIFFERENT else "differ somewhat"
    return f"{area}: they {how}: out-of-fold scores may not hold on the test images"


def _how_they_look(features: Features) -> Iterator[str]:
    """Which plain properties differ, by the share of pairs in which the test image has more of one."""
    from sklearn.metrics import roc_auc_score

    part = np.repeat([0, 1], [len(features.train), len(features.test)])
    for column, name in enumerate(SCALARS):
        values = np.concatenate([features.train[:, column], features.test[:, column]])
        area = float(roc_auc_score(part, values))
        if max(area, 1 - area) > ALIKE:
            lower, higher = _DIRECTIONS[name]
            yield f"test images are {higher if area > 0.5 else lower} ({name} alone: {max(area, 1 - area):.2f})"


def _most_alike(competition: Competition, shift: Shift) -> Iterator[str]:
    images = competition.images
    yield "training images most like test images:"
    for i in np.argsort(-shift.train, kind="stable")[:SHOWN]:
        yield f"  {images.train_ids[i]} ({images.class_names[images.y[i]]}): {shift.train[i]:.2f}"


def _striking(competition: Competition, shift: Shift) -> Iterator[str]:
    found = striking_classes(competition.images.y, shift.train)
    if found:
        yield "in the third of the training images that is most like test images:"
    for one in found[:SHOWN]:
        name = competition.images.class_names[one.class_index]
        yield f"  {name}: {one.share:.0%}, of all training images {one.overall:.0%}"


def _weighted(shift: Shift) -> str:
    n = len(shift.train)
    if shift.auc >= APART:
        return "hardly any training image is like the test images, so that weighting them cannot mend it"
    _, effective = importance_weights(shift.train, len(shift.test))
    return f"weighted by likeness to test images, {n} training images would tell as much as {effective:.0f}"
