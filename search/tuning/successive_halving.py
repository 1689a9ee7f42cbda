"""When a trial stops early.

Every trial reports the mean out-of-fold probability of the true class after every epoch, so any two trials can be
compared at the same epoch. `SuccessiveHalving` is asynchronous successive halving (Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning") in a form that keeps no state of its own: what other trials reported at a
rung is read from the study. That makes an adopted trial judge exactly as the worker before it would have, and lets
three rules of this project hold that Optuna's own pruner cannot express: trial 0 is never pruned, trials of different
length never meet, and the first arrivals at a rung pass instead of being held to the best of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE


class SuccessiveHalving(optuna.pruners.BasePruner):
    """At each rung a trial goes on only while it is among the best ``1 / reduction_factor`` seen there so far.

    Rungs are the epochs ``min_epochs * reduction_factor ** k`` below the last epoch, none beyond the share
    ``last_rung`` of all epochs: who stops late saves little and was nearly a finished trial. A trial is judged only
    once at least ``startup_trials`` trials (itself included) have reported at the rung; ties pass.
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
        """Whether ``trial`` stops at the epoch that it reported last."""
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
        """The epochs (1-based) after which a trial of ``epochs`` epochs is judged; never the last one."""
        rungs = []
        rung = self.min_epochs
        last = min(epochs - 1, math.floor(self.last_rung * epochs + 1e-9))  # 0.29 * 100 is 28.999...
        while rung <= last:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs

    def survives(self, own: float, rivals: Sequence[float]) -> bool:
        """Whether ``own`` is among the best ``ceil(n / reduction_factor)`` of the ``n`` values at its rung."""
        reported = len(rivals) + 1
        if math.isnan(own) or reported < self.startup_trials:
            return True
        better = sum(value > own for value in rivals)
        return better < math.ceil(reported / self.reduction_factor)
