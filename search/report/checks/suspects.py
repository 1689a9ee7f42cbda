"""Suspicious labels that `search check` finds by linear probes on features of a backbone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.runtime.output_files import creating
from search.study_setup.backbone_features import BackboneFeatures, Say
from search.study_setup.data_folder import Competition
from trainer.common.errors import counted, listed
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.evaluation.label_errors.candidate import Candidate, CandidateLabel, of_one_label, of_several_labels
from trainer.evaluation.several_labels import NONE
from trainer.formats.delimited import write_table
from trainer.formats.label_tables import CORRECTIONS_FILE
from trainer.probing.judge_labels import CannotJudge, JudgedLabels, judge_labels
from trainer.probing.judge_several_labels import JudgedSeveralLabels, judge_several_labels

Judged = JudgedLabels | JudgedSeveralLabels
"""The labels of images with one label each, or of images that may have several."""

SHOWN_LABELS = 12
"""Number of listed labels."""
COLUMNS = ("image_id", "image", "label", "suggested_label", "label_probability", "suggested_probability")
"""Header of the table of suspicious labels."""
EXAMPLE = "resnet18.a1_in1k"
"""A backbone whose weights are small and whose features are good."""


def without_backbone(weights: Path | None) -> str:
    """Say that no pre-trained weights are at hand, and what brings them there.

    Args:
        weights: the folder of ``--weights``; None: not given.
    """
    if weights is None:
        return (
            "no pre-trained weights are at hand. --weights FOLDER names a folder with those of any backbone of "
            "`search backbones`"
        )
    return (
        f"{weights} holds no pre-trained weights that can be used, and no others are at hand. The file is to be named "
        f"like its backbone in `search backbones`, such as {EXAMPLE}.safetensors"
    )


def suspicious_labels(
    competition: Competition, features: BackboneFeatures, groups: NDArray[np.int64], n_folds: int, say: Say
) -> Judged | str:
    """Judge the labels of the training images by a linear probe, or of several labels by one for each.

    Args:
        groups: see `search.report.checks.look_alikes.LookAlikes.groups`.

    Returns:
        The result, or a sentence on why the labels cannot be judged.
    """
    images, values = competition.images, np.asarray(features.train)
    progress = say("judging labels, step")
    try:
        if images.several_labels:
            return judge_several_labels(values, images.y, groups, n_folds=n_folds, progress=progress)
        classes = len(images.class_names)
        return judge_labels(values, images.y, groups, num_classes=classes, n_folds=n_folds, progress=progress)
    except CannotJudge as reason:
        return f"labels: not judged by features of {features.name}: {reason}"


def label_lines(
    images: ImageSet,
    name: str,
    found: Judged,
    output: Path | None,
    decided: Collection[tuple[str, str]] = frozenset(),
) -> Iterator[str]:
    """Lines for people on suspicious labels.

    Args:
        name: of the backbone.
        output: the table that lists all of them; None: there is no table.
        decided: see `trainer.data.corrections.decided.decided_labels`.
    """
    if isinstance(found, JudgedSeveralLabels):
        probe, expected = _several_probes(images, name, found)
    else:
        probe, expected = _one_probe(name, found)
    candidates = _suspects(images, found)
    suspects = _undecided(images, candidates, decided)
    if not suspects:
        yield f"labels: none is suspicious ({probe}). {expected}"
    else:
        these = "this image" if len(suspects) == 1 else f"these {len(suspects)} images"
        yield f"labels: look at {these}, whose labels may be wrong ({probe}). {expected}"
        if found.errors.too_many:
            yield "  so many are rather the fault of the features than of the labels: another backbone may suit them"
        for each in suspects[:SHOWN_LABELS]:
            name_of_image = images.train_images.name(each.row)
            yield f"  {name_of_image}: {_named(each.given)}, rather {_named(each.proposed)}"
        if len(suspects) > SHOWN_LABELS:
            rest = "" if output else "; --output FILE writes all into a table"
            yield f"  and {len(suspects) - SHOWN_LABELS} more{rest}"
    if left_out := len(candidates) - len(suspects):
        are = "image is" if left_out == 1 else "images are"
        yield f"  {left_out} further {are} left out, decided in {CORRECTIONS_FILE} already"
    if isinstance(found, JudgedLabels) and found.unjudged:
        yield f"  not judged: {counted(found.unjudged, 'image')} of classes that occur in one fold only"
    if isinstance(found, JudgedSeveralLabels) and found.unjudged:
        names = listed(images.class_names[label] for label in found.unjudged)
        yield f"  not judged, because the probes know no more of them than their frequency: {names}"


def _one_probe(name: str, found: JudgedLabels) -> tuple[str, str]:
    """How far the probe can be trusted, and how many labels are expected to be wrong."""
    errors = found.errors
    return (
        f"a linear probe on features of {name} predicts {found.accuracy:.0%} of {errors.judged} labels that it was not "
        "fitted on",
        f"Expected share of wrong labels: about {errors.expected_share:.1%}",
    )


def _several_probes(images: ImageSet, name: str, found: JudgedSeveralLabels) -> tuple[str, str]:
    """As `_one_probe`, of several labels."""
    labels = len(images.class_names) - len(found.unjudged)
    return (
        f"linear probes on features of {name}, not fitted on these images, {found.predicted}",
        f"Expected number of wrong labels: about {found.errors.expected:.0f} of {labels} labels of "
        f"{found.errors.judged} images",
    )


def _suspects(images: ImageSet, found: Judged) -> list[Candidate]:
    """All images with suspicious labels, the least probable label first."""
    if isinstance(found, JudgedSeveralLabels):
        return list(of_several_labels(found.errors, images.class_names))
    return list(of_one_label(found.errors, images.y, images.class_names))


def _undecided(
    images: ImageSet, candidates: Sequence[Candidate], decided: Collection[tuple[str, str]]
) -> list[Candidate]:
    """The candidates without a decision on their labels."""
    cells = LabelCells.of(images)
    return [each for each in candidates if (images.train_ids[each.row], cells.write(images.y[each.row])) not in decided]


def _named(labels: Sequence[CandidateLabel]) -> str:
    """The labels of an image with their probabilities."""
    return " + ".join(f"{each.name} {_percent(each.probability)}" for each in labels) or NONE


def _percent(probability: float) -> str:
    """A probability in whole percent, but never 0 % or 100 %."""
    return "<1%" if probability < 0.01 else ">99%" if probability > 0.99 else f"{probability:.0%}"


def write_suspects(
    path: Path, images: ImageSet, found: Judged, decided: Collection[tuple[str, str]] = frozenset()
) -> None:
    """Write all suspicious labels as a table with the header `COLUMNS`, the least probable label first.

    Args:
        decided: see `trainer.data.corrections.decided.decided_labels`.

    Raises:
        FileNotOurs: a file with another content is there.
        OSError: the file cannot be written.
    """
    cells, several = LabelCells.of(images), images.several_labels
    rows = [
        (
            images.train_ids[each.row],
            images.train_images.name(each.row),
            cells.write(images.y[each.row]),
            cells.write(each.proposed_label),
            # Of several labels, that of the one which is contradicted most.
            f"{1.0 - each.confidence if several else each.given[0].probability:.4f}",
            f"{each.confidence:.4f}",
        )
        for each in _undecided(images, _suspects(images, found), decided)
    ]
    with creating(path) as temporary:
        write_table(temporary, [COLUMNS, *rows])
