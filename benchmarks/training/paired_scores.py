"""Scores of two ways to train on the same labelled images: out-of-fold and private, and whether the second is adopted.

The benchmarks of second studies compare as `search start` does: the second way is adopted if its paired out-of-fold
gain exceeds one standard error and does not hang on one image. It is a wrong adoption if the private accuracy is lower
with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.lp_ft import with_error
from search.statistics.paired_gain import Gain, exceeds_one_image, paired_gain, probability_gain
from trainer.evaluation.targets import Targets

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class PairedScores:
    """Accuracies, 0 .. 1, of both ways on the same images."""

    labelled: int
    """Number of labelled images."""
    cv: float
    """Out-of-fold accuracy of the first way."""
    cv_second: float
    error: float
    """Standard error of the paired difference of both."""
    probability: float
    """Paired gain in the mean probability of the true class."""
    probability_error: float
    private: float
    """Accuracy of the first way on images whose labels it does not know."""
    private_second: float

    @property
    def gain(self) -> Gain:
        """Paired, out-of-fold."""
        return Gain(mean=self.cv_second - self.cv, error=self.error)

    @property
    def adopted(self) -> bool:
        """Whether the paired gain exceeds one standard error, and does not hang on one image."""
        return exceeds_one_image(self.gain, "accuracy", self.labelled)

    @property
    def wrong(self) -> bool:
        """Whether adopting is a mistake: the private accuracy is lower."""
        return self.private_second < self.private


def paired_scores(
    y: Labels,
    oof: tuple[Probabilities, Probabilities],
    private_y: Labels,
    private: tuple[Probabilities, Probabilities],
) -> PairedScores:
    """Score both ways.

    Args:
        y: classes of the labelled images, int64 ``(n,)``.
        oof: out-of-fold probabilities of the first and of the second way, ``(n, C)``.
        private_y: classes of the private images, int64 ``(m,)``.
        private: probabilities of the private images, ``(m, C)``.
    """
    targets, rows = Targets(y), np.arange(len(y))
    first, second = oof
    gain = paired_gain("accuracy", targets, second, first)
    soft = probability_gain(targets, second[rows, y], first[rows, y])
    return PairedScores(
        labelled=len(y),
        cv=accuracy(first, y),
        cv_second=accuracy(second, y),
        error=gain.error,
        probability=soft.mean,
        probability_error=soft.error,
        private=accuracy(private[0], private_y),
        private_second=accuracy(private[1], private_y),
    )


def accuracy(proba: Probabilities, y: Labels) -> float:
    """Share of the images whose class has the largest probability."""
    return float((proba.argmax(axis=1) == y).mean())


def score_cells(own: Sequence[PairedScores]) -> dict[str, object]:
    """Cells of a table for some draws: scores in percent, paired gains in points, adoptions."""
    lower, equal = sum(one.wrong for one in own), sum(one.private_second == one.private for one in own)
    return {
        "draws": len(own),
        "out-of-fold": _percent([one.cv for one in own]),
        "gain": with_error(np.array([100 * one.gain.mean for one in own])),
        "gain in probability": with_error(np.array([100 * one.probability for one in own])),
        "private": _percent([one.private for one in own]),
        "private gain": with_error(np.array([100 * (one.private_second - one.private) for one in own])),
        "private lower / equal / higher": f"{lower} / {equal} / {len(own) - lower - equal}",
        "adopted": f"{sum(one.adopted for one in own)} of {len(own)}",
        "adopted wrongly": sum(one.adopted and one.wrong for one in own),
    }


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * np.mean(shares):.1f}" if shares else "-"
