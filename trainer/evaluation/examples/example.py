"""An image that shows where predictions err, and the reasons for which it may be chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an image is shown, in the order in which images are chosen."""

    LOSS = "loss"
    """Its loss, minus the logarithm of the label's probability, is among the largest."""
    MISTAKE = "mistake"
    """Another class than its label has nearly all the probability."""
    PAIR = "pair"
    """It belongs to one of the most frequent confusions."""
    SUSPECT = "suspect"
    """Its label may be wrong (`trainer.evaluation.label_errors`)."""
    WEAK_CLASS = "class"
    """It is an error of a class with a low F1, of which few are shown otherwise."""
    FAR = "far"
    """A test image unlike the training images (`trainer.shift.distance`)."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image and why it was chosen."""

    row: int
    reasons: tuple[Reason, ...]
    """The first is the one that it was chosen for."""
