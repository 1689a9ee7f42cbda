"""Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").

Every trial reports the mean out-of-fold probability of the true class after every epoch, so any two trials can be
compared at the same epoch. `SuccessiveHalving` has no state: it reads the values of other trials at a rung from the
study. A trial that another worker continues is therefore judged in the same way.

Optuna's ``SuccessiveHalvingPruner`` cannot express three rules of this one. Trial 0 is never pruned. Trials with
different numbers of epochs are not compared. The first trials at a rung pass, whereas Optuna lets only the best of them
pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE


class SuccessiveHalving(optuna.pruners.BasePruner):
    """Prunes a trial that is not among the best ``1 / reduction_factor`` of the trials so far at a rung.

    Rungs are the epochs ``min_epochs * reduction_factor ** k`` before the last epoch. None lies beyond the share
    ``last_rung`` of all epochs, because stopping a nearly finished trial saves little. A trial is judged only if at
    least ``startup_trials`` trials, itself included, have reported at the rung. Ties pass.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, *, min_epochs: int = 1, reduction_factor: int = 2, startup_trials: int = 4, last_rung: float = 1.0
    ) -> None:
        if min_epochs < 1 or reduction_factor < 2 or startup_trials < 2 or not 0.0 < last_rung <= 1.0:
            raise ValueError(
                "needs min_epochs >= 1, reduction_factor >= 2, startup_trials >= 2, last_rung above 0 and at most 1"
            )
        self.min_epochs = min_epochs
        self.reduction_factor = reduction_factor
        self.startup_trials = startup_trials
        self.last_rung = last_rung

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` stops after the epoch that it reported last."""
        epoch = trial.last_step
        if epoch is None or trial.number == 0 or epoch not in self.rungs(trial.user_attrs[EPOCHS_ATTRIBUTE]):
            return False
        rivals = [
            other.intermediate_values[epoch]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
            and other.state != TrialState.FAIL
            and other.user_attrs.get(EPOCHS_ATTRIBUTE) == trial.user_attrs[EPOCHS_ATTRIBUTE]
            and epoch in other.intermediate_values
        ]
        return not self.survives(trial.intermediate_values[epoch], rivals)

    def rungs(self, epochs: int) -> list[int]:
        """The epochs (1-based) after which a trial of ``epochs`` epochs is judged; never the last epoch."""
        rungs = []
        rung = self.min_epochs
        last = min(epochs - 1, math.floor(self.last_rung * epochs + 1e-9))  # 1e-9, because 0.29 * 100 is 28.999...
        while rung <= last:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs

    def survives(self, own: float, rivals: Sequence[float]) -> bool:
        """Whether ``own`` is among the best ``ceil(n / reduction_factor)`` of ``n`` values: ``rivals`` and itself.

        A NaN survives, and so does every value while there are fewer than ``startup_trials``.
        """
        reported = len(rivals) + 1
        if math.isnan(own) or reported < self.startup_trials:
            return True
        better = sum(value > own for value in rivals)
        return better < math.ceil(reported / self.reduction_factor)
