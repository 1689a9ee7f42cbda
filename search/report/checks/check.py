"""``search check``: the contents of a data folder, its train/test shift, near-duplicates and suspicious labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from search.export.output.outside_data import check_file
from search.report.checks.look_alikes import find_look_alikes
from search.report.checks.suspects import (
    Judged,
    label_lines,
    suspicious_labels,
    without_backbone,
    write_suspects,
)
from search.runtime.console import open_console, say
from search.runtime.errors import SearchError
from search.runtime.home import Home
from search.study_setup.backbone_features import BackboneFeatures, Say, backbone_features
from search.study_setup.data_folder import Competition, inspect_with_progress
from search.study_setup.image_weights import ALIKE, SETTING, is_shifted, why_not
from search.study_setup.shift_features import Features, comparison_progress, shift_features, shift_groups
from studies.settings import DataSettings
from trainer.common.errors import BackboneError
from trainer.data.corrections.decided import corrections_about, decided_labels
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.description import LONGEST_LINE, describe
from trainer.inference.predictions import folder_problem
from trainer.inference.printable import excerpt
from trainer.networks.pretrained.folder_networks import check_exists
from trainer.shift.adversarial import Shift, TooFewImages, importance_weights, measure_shift, shifted_classes
from trainer.shift.descriptors import SCALARS
from trainer.shift.leaks import metadata_features


class NothingToWrite(SearchError):
    """There will be no table of suspicious labels to write; the message says why."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """What `search check` looks for beyond the layout of the data, and by which features."""

    shift: bool = True
    """Compare training with test images."""
    labels: bool = True
    """Look for near-duplicates and suspicious labels by features of a backbone, if one is at hand."""
    backbone: str | None = None
    """The backbone whose frozen features are used; None: the preferred one at hand, or for the shift pixel
    descriptors."""
    weights: Path | None = None
    """Folder of pre-trained weights."""
    output: Path | None = None
    """Table of suspicious labels to write; None: none."""
    home: Home = field(default_factory=Home)
    """Keeps resized images and features for later checks and studies."""


def check(folder: Path, *, settings: DataSettings, n_folds: int, request: CheckRequest) -> None:
    """Read everything in ``folder`` as `search start` would, and print what was found.

    Raises:
        DataError: the data are invalid; lists every problem.
        BackboneError: the backbone cannot be used, or the weights folder does not exist.
        NothingToWrite: a table is wanted that cannot be made; nothing was read.
        FileNotOurs: the table would replace another file.
        OutputInData: the table would become a part of the data.
    """
    console = open_console()
    if request.weights is not None:
        check_exists(request.weights)
    if request.backbone is not None:
        from trainer.networks.backbones import check_backbone
        from trainer.networks.pretrained.find_weights import missing_weights
        from trainer.networks.pretrained.missing_message import missing_weights_message

        check_backbone(request.backbone)
        if missing_weights([request.backbone], request.weights):
            raise BackboneError(
                missing_weights_message([request.backbone], request.weights, scratch=False, choice="--backbone ")
            )
    if request.output is not None:
        check_file(request.output, [folder], request.home.root)
        _check_output(request)
    competition = inspect_with_progress(folder, settings.options, console)
    for line in describe(competition.images, competition.duplicates, n_folds):
        say(console, excerpt(line, LONGEST_LINE))
    shift = request.shift and len(competition.images.test_ids) > 0
    if not (shift or request.labels):
        return
    images = competition.images
    decided = (
        decided_labels(corrections_about(images), LabelCells.of(images))
        if settings.options.corrections
        else frozenset()
    )
    with comparison_progress(console) as progress:
        lines, judged = _findings(competition, request, shift, n_folds, decided, progress)
    for line in lines:
        say(console, excerpt(line, LONGEST_LINE))
    if request.output is not None and judged is not None:
        write_suspects(request.output, competition.images, judged, decided)
        say(console, f"The suspicious labels are written to {request.output}", whole=True)


def _check_output(request: CheckRequest) -> None:
    """Check that there can be a table of suspicious labels, before anything slow.

    Raises:
        NothingToWrite: no backbone is at hand, or labels are not judged.
    """
    from trainer.probing.extractors import available_extractors

    output = request.output
    if not request.labels:
        raise NothingToWrite(f"--no-labels finds no suspicious labels to write to {output}; leave out one of them")
    if request.backbone is None and not available_extractors(request.weights):
        raise NothingToWrite(
            f"{output} cannot be written, because labels are judged by pre-trained weights: "
            f"{without_backbone(request.weights)}"
        )
    if output is not None and (problem := folder_problem(output.parent)) is not None:
        raise NothingToWrite(problem)


def _findings(
    competition: Competition,
    request: CheckRequest,
    shift: bool,
    n_folds: int,
    decided: Collection[tuple[str, str]],
    say: Say,
) -> tuple[list[str], Judged | None]:
    """Lines on the shift, on near-duplicates and on suspicious labels; and these labels, if they can be judged.

    Args:
        decided: see `trainer.data.corrections.decided.decided_labels`.
    """
    found = backbone_features(
        competition, backbone=request.backbone, weights=request.weights, home=request.home, say=say
    )
    lines = shift_lines(competition, found, say) if shift else []
    if not request.labels:
        return lines, None
    if found is None:
        because = without_backbone(request.weights)
        return [*lines, f"altered copies and suspicious labels: not searched, because {because}"], None
    alike = find_look_alikes(competition, found, say)
    judged = suspicious_labels(competition, found, alike.groups, n_folds, say)
    if isinstance(judged, str):
        written = f"; {request.output} is not written" if request.output else ""
        return [*lines, *alike.lines, judged + written], None
    listed = label_lines(competition.images, found.name, judged, request.output, decided)
    return [*lines, *alike.lines, *listed], judged


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


def shift_lines(competition: Competition, found: BackboneFeatures | None, say: Say) -> list[str]:
    """Measure the shift between training and test images (one at least) and describe it, a line for each finding.

    Args:
        found: features of a backbone; None: the images are compared by descriptors of the pixels.

    Raises:
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
        features = shift_features(competition, found, say)
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
        yield f"  {images.train_ids[i]} ({images.label_of(i)}): {shift.train[i]:.2f}"


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
