"""``search check``: what is in a folder, before anything is begun."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.runtime.console import open_console, say
from search.study_setup.data_folder import Competition, inspect_with_progress
from search.study_setup.image_weights import ALIKE, SETTING, is_shifted, why_not
from search.study_setup.shift_features import Features, Say, shift_features, shift_groups
from studies.settings import DataSettings
from trainer.data.description import describe
from trainer.shift.adversarial import Shift, TooFewImages, importance_weights, measure_shift, shifted_classes
from trainer.shift.descriptors import SCALARS
from trainer.shift.leaks import metadata_features


@dataclass(frozen=True, kw_only=True)
class ShiftRequest:
    """How training and test images are to be compared."""

    backbone: str | None = None
    """Whose frozen features; None: what is at hand."""
    weights: Path | None = None
    """Folder of pre-trained weights."""


def check(folder: Path, *, settings: DataSettings, n_folds: int, shift: ShiftRequest | None) -> None:
    """Read everything in ``folder``, as `search start` would, and say what was found.

    Args:
        shift: None: training and test images are not compared.

    Raises:
        DataError: listing everything that is wrong with the data.
        BackboneError: a backbone to compare by that cannot be used.
    """
    console = open_console()
    if shift is not None and shift.backbone is not None:
        from trainer.networks.backbones import check_backbone

        check_backbone(shift.backbone)
    competition = inspect_with_progress(folder, settings.options, console)
    for line in describe(competition.images, competition.duplicates, n_folds):
        say(console, line)
    if shift is not None and len(competition.images.test_ids):
        from search.study_setup.shift_features import comparison_progress

        with comparison_progress(console) as progress:
            lines = shift_lines(competition, backbone=shift.backbone, weights=shift.weights, say=progress)
        for line in lines:
            say(console, line)


DIFFERENT = 0.75  # area from which parts differ plainly
SHOWN = 5  # most test-like training images, and shifted classes, that are listed

_DIRECTIONS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "richer in contrast"),
    "saturation": ("paler", "more colourful"),
    "sharpness": ("more blurred", "sharper"),
    "blockiness": ("less compressed", "more compressed"),
}
"""Of each of `trainer.shift.descriptors.SCALARS`: what test images are where theirs are lower, and where they are
higher.
"""


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
            for name, values in metadata_features(images).items()
        }
        features = shift_features(competition, backbone=backbone, weights=weights, say=say)
        say("comparing training with test images")
        shift = measure_shift(features.train, features.test, groups)
    except TooFewImages as error:
        return [f"train/test shift: not measured: {error}"]
    lines = [
        f"train/test shift: {name} alone tells them apart, AUC {leak.auc:.2f} ± {leak.standard_error:.2f}: a leak, or "
        "a sign that they were made differently"
        for name, leak in leaks.items()
        if is_shifted(leak)
    ]
    why = " (no pre-trained backbone is at hand)" * features.described
    lines.append(f"train/test shift by {features.name}{why}: AUC {_told(shift)}")
    if not is_shifted(shift):
        return lines
    if features.described:
        lines += [f"  {line}" for line in _how_they_look(features)]
    lines += [
        f"  {line}" for line in (*_most_alike(competition, shift), *_shifted(competition, shift), _weighted(shift))
    ]
    return lines


def _told(shift: Shift) -> str:
    area = f"{shift.auc:.2f} ± {shift.standard_error:.2f}"
    if not is_shifted(shift):
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


def _shifted(competition: Competition, shift: Shift) -> Iterator[str]:
    found = shifted_classes(competition.images.y, shift.train)
    if found:
        yield "in the third of the training images that is most like test images:"
    for one in found[:SHOWN]:
        name = competition.images.class_names[one.class_index]
        yield f"  {name}: {one.share:.0%}, of all training images {one.overall:.0%}"


def _weighted(shift: Shift) -> str:
    problem = why_not(shift)
    if problem:
        return problem
    values, effective = importance_weights(shift.train, len(shift.test))
    return (
        f"weighted by likeness to test images, {len(values)} training images would tell as much as {effective:.0f}: "
        f"`search start --set {SETTING}` judges so, nearer to the test images and less precisely"
    )
