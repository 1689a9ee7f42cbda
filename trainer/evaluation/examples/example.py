"""An image that shows where predictions err, and the reasons for which it may be chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an image is shown, in the order in which images are chosen."""

    LOSS = "loss"
    """Its loss, minus the logarithm of the label's probability, is among the largest; of several labels the mean over
    all labels, of which those that it lacks count with the complement of their probability."""
    MISTAKE = "mistake"
    """Another class than its label has nearly all the probability."""
    PAIR = "pair"
    """It belongs to one of the most frequent confusions."""
    MISSED = "missed"
    """One of its several labels has a low probability and is not predicted."""
    WRONG = "wrong"
    """A label that it lacks has a high probability and is predicted."""
    UNSURE = "unsure"
    """The probability of a label is near the threshold that decides about it."""
    SUSPECT = "suspect"
    """Its label may be wrong (`trainer.evaluation.label_errors`), or one of several labels may be wrong or missing."""
    WEAK_CLASS = "class"
    """It is an error of a class with a low F1, of which few are shown otherwise."""
    FAR = "far"
    """A test image unlike the training images (`trainer.shift.distance`)."""


ONE_LABEL = (Reason.LOSS, Reason.MISTAKE, Reason.PAIR, Reason.SUSPECT, Reason.WEAK_CLASS, Reason.FAR)
"""The reasons for images with one label each, in their order."""
SEVERAL_LABELS = (
    Reason.LOSS,
    Reason.MISSED,
    Reason.WRONG,
    Reason.UNSURE,
    Reason.SUSPECT,
    Reason.WEAK_CLASS,
    Reason.FAR,
)
"""The reasons for images that may have several labels."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image and why it was chosen."""

    row: int
    reasons: tuple[Reason, ...]
    """The first is the one that it was chosen for."""
    label: int | None = None
    """The label that this reason is about; None where images have one label each, and of a test image."""
