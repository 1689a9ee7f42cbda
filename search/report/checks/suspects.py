"""Suspicious labels that `search check` finds by linear probes on features of a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.runtime.output_files import creating
from search.study_setup.backbone_features import BackboneFeatures, Say
from search.study_setup.data_folder import Competition
from trainer.common.errors import listed
from trainer.data.corrections.label_cells import LabelCells
from trainer.data.image_set import ImageSet
from trainer.evaluation.several_labels import NONE, Labels
from trainer.formats.delimited import write_table
from trainer.probing.judge_labels import CannotJudge, JudgedLabels, judge_labels
from trainer.probing.judge_several_labels import JudgedSeveralLabels, judge_several_labels

Judged = JudgedLabels | JudgedSeveralLabels
"""The labels of images with one label each, or of images that may have several."""

SHOWN_LABELS = 12
"""Number of listed labels."""
COLUMNS = ("image_id", "image", "label", "suggested_label", "label_probability", "suggested_probability")
"""Header of the table of suspicious labels."""

REMEDY = "--weights FOLDER names a folder with those of any backbone of `search backbones`"
WITHOUT_BACKBONE = (
    f"altered copies and suspicious labels: not searched, because no pre-trained weights are at hand. {REMEDY}"
)


@dataclass(frozen=True, kw_only=True)
class _Suspect:
    """An image with a suspicious label."""

    row: int
    """Of the training images."""
    label: str
    """Its label, or all its labels, as a cell (`trainer.data.corrections.label_cells`)."""
    suggested: str
    line: str
    """Both with their probabilities, for people."""
    label_probability: float
    """0 .. 1; of several labels the lowest of one that the image has, or lacks."""
    suggested_probability: float


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


def label_lines(images: ImageSet, name: str, found: Judged, output: Path | None) -> Iterator[str]:
    """Lines for people on suspicious labels.

    Args:
        name: of the backbone.
        output: the table that lists all of them; None: there is no table.
    """
    if isinstance(found, JudgedSeveralLabels):
        probe, expected = _several_probes(images, name, found)
    else:
        probe, expected = _one_probe(name, found)
    suspects = _suspects(images, found)
    if not suspects:
        yield f"labels: none is suspicious ({probe}). {expected}"
    else:
        these = "this image" if len(suspects) == 1 else f"these {len(suspects)} images"
        yield f"labels: look at {these}, whose labels may be wrong ({probe}). {expected}"
        if found.errors.too_many:
            yield "  so many are rather the fault of the features than of the labels: another backbone may suit them"
        yield from (f"  {images.train_images.name(each.row)}: {each.line}" for each in suspects[:SHOWN_LABELS])
        if len(suspects) > SHOWN_LABELS:
            rest = "" if output else "; --output FILE writes all into a table"
            yield f"  and {len(suspects) - SHOWN_LABELS} more{rest}"
    if isinstance(found, JudgedLabels) and found.unjudged:
        yield f"  not judged: {found.unjudged} images of classes that occur in one fold only"
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


def _suspects(images: ImageSet, found: Judged) -> list[_Suspect]:
    """All images with suspicious labels, the least probable label first."""
    cells = LabelCells.of(images)
    if isinstance(found, JudgedSeveralLabels):
        several = found.errors
        return [
            _Suspect(
                row=row,
                label=cells.write(several.given[place]),
                suggested=cells.write(several.proposed[place]),
                line=f"{_list(images, several.given[place], several.proba[place])}, rather "
                f"{_list(images, several.proposed[place], several.proba[place])}",
                label_probability=1.0 - float(several.confidence[place]),
                suggested_probability=float(several.confidence[place]),
            )
            for place, row in enumerate(several.rows.tolist())
        ]
    one = found.errors
    return [
        _Suspect(
            row=row,
            label=images.class_names[images.y[row]],
            suggested=images.class_names[suggested],
            line=f"{images.class_names[images.y[row]]} {_percent(own)}, "
            f"rather {images.class_names[suggested]} {_percent(other)}",
            label_probability=own,
            suggested_probability=other,
        )
        for row, suggested, own, other in zip(
            one.rows.tolist(),
            one.suggested.tolist(),
            one.label_proba.tolist(),
            one.suggested_proba.tolist(),
            strict=True,
        )
    ]


def _list(images: ImageSet, labels: Labels, proba: NDArray[np.float64]) -> str:
    """The labels of an image with their probabilities."""
    names = (f"{images.class_names[c]} {_percent(float(proba[c]))}" for c in np.flatnonzero(labels).tolist())
    return " + ".join(names) or NONE


def _percent(probability: float) -> str:
    """A probability in whole percent, but never 0 % or 100 %."""
    return "<1%" if probability < 0.01 else ">99%" if probability > 0.99 else f"{probability:.0%}"


def write_suspects(path: Path, images: ImageSet, found: Judged) -> None:
    """Write all suspicious labels as a table with the header `COLUMNS`, the least probable label first.

    Raises:
        FileNotOurs: a file with another content is there.
        OSError: the file cannot be written.
    """
    rows = [
        (
            images.train_ids[each.row],
            images.train_images.name(each.row),
            each.label,
            each.suggested,
            f"{each.label_probability:.4f}",
            f"{each.suggested_probability:.4f}",
        )
        for each in _suspects(images, found)
    ]
    with creating(path) as temporary:
        write_table(temporary, [COLUMNS, *rows])
