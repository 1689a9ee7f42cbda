"""An image whose labels may be wrong: those that it has, and those that held-out predictions propose, with names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.evaluation.label_errors.one_label import LabelErrors
from trainer.evaluation.label_errors.several_labels import SeveralLabelErrors
from trainer.evaluation.several_labels import Labels, label_numbers


@dataclass(frozen=True, kw_only=True)
class CandidateLabel:
    """A label of an image."""

    name: str
    probability: float
    """By predictions that have not learned from the image, 0 .. 1."""
    disputed: bool = True
    """Whether given and proposed labels differ in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """An image whose label may be wrong, or one of its several labels or a label that it lacks."""

    row: int
    """Of the training images."""
    given: tuple[CandidateLabel, ...]
    """Its label, or its labels."""
    proposed: tuple[CandidateLabel, ...]
    proposed_label: Any
    """The proposed row of ``y`` (`trainer.evaluation.several_labels`)."""
    confidence: float
    """Probability of the proposed label; of several the highest by which one is contradicted. 0 .. 1."""


def of_one_label(found: LabelErrors, y: Labels, class_names: Sequence[str]) -> Iterator[Candidate]:
    """The candidates among images with one label each, in the order of ``found``."""
    pairs = zip(found.rows, found.suggested, found.label_proba, found.suggested_proba, strict=True)
    for row, suggested, own, other in pairs:
        yield Candidate(
            row=int(row),
            given=(CandidateLabel(name=class_names[y[row]], probability=float(own)),),
            proposed=(CandidateLabel(name=class_names[suggested], probability=float(other)),),
            proposed_label=suggested,
            confidence=float(other),
        )


def of_several_labels(found: SeveralLabelErrors, class_names: Sequence[str]) -> Iterator[Candidate]:
    """The candidates among images that may have several labels, in the order of ``found``."""

    def labels(place: int, of: Labels) -> tuple[CandidateLabel, ...]:
        return tuple(
            CandidateLabel(
                name=class_names[c],
                probability=float(found.proba[place, c]),
                disputed=bool(found.changed[place, c]),
            )
            for c in label_numbers(of[place])
        )

    confidence = found.confidence
    for place, row in enumerate(found.rows.tolist()):
        yield Candidate(
            row=row,
            given=labels(place, found.given),
            proposed=labels(place, found.proposed),
            proposed_label=found.proposed[place],
            confidence=float(confidence[place]),
        )
