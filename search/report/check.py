"""``search check``: the contents of a data folder, and whether test images look like training images."""

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
from trainer.data.description import LONGEST_LINE, describe
from trainer.inference.printable import excerpt
from trainer.shift.adversarial import Shift, TooFewImages, importance_weights, measure_shift, shifted_classes
from trainer.shift.descriptors import SCALARS
from trainer.shift.leaks import metadata_features


@dataclass(frozen=True, kw_only=True)
class ShiftRequest:
    """How to compare training with test images."""

    backbone: str | None = None
    """The backbone whose frozen features are compared; None: the first good one at hand, else pixel descriptors."""
    weights: Path | None = None
    """Folder of pre-trained weights."""


def check(folder: Path, *, settings: DataSettings, n_folds: int, shift: ShiftRequest | None) -> None:
    """Read everything in ``folder`` as `search start` would, and print what was found.

    Args:
        shift: None: do not compare training with test images.

    Raises:
        DataError: the data are invalid; lists every problem.
        BackboneError: the backbone of ``shift`` cannot be used.
    """
    console = open_console()
    if shift is not None and shift.backbone is not None:
        from trainer.networks.backbones import check_backbone

        check_backbone(shift.backbone)
    competition = inspect_with_progress(folder, settings.options, console)
    for line in describe(competition.images, competition.duplicates, n_folds):
        say(console, excerpt(line, LONGEST_LINE))
    if shift is not None and len(competition.images.test_ids):
        from search.study_setup.shift_features import comparison_progress

        with comparison_progress(console) as progress:
            lines = shift_lines(competition, backbone=shift.backbone, weights=shift.weights, say=progress)
        for line in lines:
            say(console, excerpt(line, LONGEST_LINE))


CLEAR_SHIFT = 0.75
"""AUC from which training and test images clearly differ."""
SHOWN = 5
"""Number of listed training images that look most like test images, and of listed classes."""

_DIRECTIONS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "richer in contrast"),
    "saturation": ("paler", "more colourful"),
    "sharpness": ("more blurred", "sharper"),
    "blockiness": ("less compressed", "more compressed"),
}
"""How test images look if a descriptor (`trainer.shift.descriptors.SCALARS`) is lower for them, and if it is higher."""


def shift_lines(competition: Competition, *, backbone: str | None, weights: Path | None, say: Say) -> list[str]:
    """Measure the shift between training and test images (one at least) and describe it, a line for each finding.

    Args:
        backbone: as in `ShiftRequest`.
        weights: folder of pre-trained weights.

    Raises:
        BackboneError: the backbone cannot be used, or the weights folder does not exist.
        DataError: an image can no longer be read.
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
        f"train/test shift: {name} alone separates them, AUC {leak.auc:.2f} ± {leak.standard_error:.2f}: a leak, or a "
        "sign that they were made differently"
        for name, leak in leaks.items()
        if is_shifted(leak)
    ]
    because = " (no pre-trained backbone is at hand)" * features.described
    lines.append(f"train/test shift by {features.name}{because}: AUC {_verdict(shift)}")
    if not is_shifted(shift):
        return lines
    if features.described:
        lines += [f"  {line}" for line in _visible_differences(features)]
    lines += [
        f"  {line}"
        for line in (*_most_test_like(competition, shift), *_shifted_classes(competition, shift), _weighting(shift))
    ]
    return lines


def _verdict(shift: Shift) -> str:
    area = f"{shift.auc:.2f} ± {shift.standard_error:.2f}"
    if not is_shifted(shift):
        return f"{area}: training and test images look alike"
    how = "differ" if shift.auc >= CLEAR_SHIFT else "differ somewhat"
    return f"{area}: they {how}, so out-of-fold scores may not hold on the test images"


def _visible_differences(features: Features) -> Iterator[str]:
    """Image properties that differ, each by the AUC of that property alone."""
    from sklearn.metrics import roc_auc_score

    part = np.repeat([0, 1], [len(features.train), len(features.test)])
    for column, name in enumerate(SCALARS):
        values = np.concatenate([features.train[:, column], features.test[:, column]])
        area = float(roc_auc_score(part, values))
        if max(area, 1 - area) > ALIKE:
            lower, higher = _DIRECTIONS[name]
            yield f"test images are {higher if area > 0.5 else lower} ({name} alone: {max(area, 1 - area):.2f})"


def _most_test_like(competition: Competition, shift: Shift) -> Iterator[str]:
    images = competition.images
    yield "training images most like test images:"
    for i in np.argsort(-shift.train, kind="stable")[:SHOWN]:
        yield f"  {images.train_ids[i]} ({images.class_names[images.y[i]]}): {shift.train[i]:.2f}"


def _shifted_classes(competition: Competition, shift: Shift) -> Iterator[str]:
    found = shifted_classes(competition.images.y, shift.train)
    if found:
        yield "in the third of the training images that is most like test images:"
    for shifted in found[:SHOWN]:
        name = competition.images.class_names[shifted.class_index]
        yield f"  {name}: {shifted.share:.0%}, of all training images {shifted.overall:.0%}"


def _weighting(shift: Shift) -> str:
    problem = why_not(shift)
    if problem:
        return problem
    values, effective = importance_weights(shift.train, len(shift.test))
    return (
        f"weighted by similarity to the test images, {len(values)} training images have the effective sample size "
        f"{effective:.0f}. `search start --study NAME --set {SETTING}` scores with these weights: closer to the test "
        "images, but less precise"
    )
