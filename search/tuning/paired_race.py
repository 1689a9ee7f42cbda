"""The paired race: a trial stops once it is clearly behind the leader at the same epoch, image by image.

Folds train in lockstep, so after its first epoch every trial has an out-of-fold prediction of every image, and so has
whoever led at that epoch. The difference between the probabilities that both give to the true class, averaged over the
images, is known far better than either mean: an image is easy or hard for both. As a race against the best so far it is
Hoeffding racing (Maron & Moore 1994) with blocks (the images) and a normal bound in place of Hoeffding's, as F-Race
(Birattari et al. 2002) has them.

It is not the rule of the shipped studies. On one of two recorded tables of curves it ended nearer to the best recipe
than successive halving did for the same number of epochs trained; on the other, with larger budgets, it gave up
recipes that start slowly and end well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray

from trainer.evaluation.targets import ImageWeights, mean_error, mean_over

if TYPE_CHECKING:
    from trainer.training.results import EpochReport

Floating = NDArray[np.floating[Any]]


class PairedRace:
    """Gives a trial up when the leader of its epoch is better by more than so many standard errors."""

    def __init__(
        self,
        leader_at: Callable[[int, int], Floating | None],
        *,
        margin: float,
        min_epochs: int = 1,
        weights: ImageWeights | None = None,
    ) -> None:
        """
        Args:
            leader_at: (epoch, total epochs) -> true-class probabilities ``(n,)`` of the trial of the same length with
                the best mean after that epoch; None where there is none.
            margin: standard errors, above 0.
            min_epochs: epochs before a trial is first judged.
            weights: how much each image counts, ``(n,)``; None: all the same.
        """
        self._leader_at = leader_at
        self._margin = margin
        self._min_epochs = min_epochs
        self._weights = weights

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        """Whether ``trial`` stops at the epoch of ``report``. Trial 0 never does."""
        if trial.number == 0 or report.epoch < self._min_epochs or report.epoch >= report.epochs:
            return False
        leader = self._leader_at(report.epoch, report.epochs)
        return leader is not None and errors_behind(report.true_class, leader, self._weights) > self._margin


def errors_behind(own: Floating, leader: Floating, weights: ImageWeights | None = None) -> float:
    """How many standard errors of the paired mean difference ``leader`` is better than ``own``, both ``(n,)``.

    Images that either has no prediction of (NaN) do not count. Fewer than two images, or predictions that are all the
    same: 0.

    Args:
        weights: how much each image counts, ``(n,)``; None: all the same.
    """
    differences = leader.astype(np.float64) - own.astype(np.float64)
    known = np.isfinite(differences)
    differences, weights = differences[known], None if weights is None else weights[known]
    if len(differences) < 2:
        return 0.0
    error = mean_error(differences, weights)
    return mean_over(differences, weights) / error if error > 0.0 else 0.0
