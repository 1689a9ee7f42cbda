"""Promotion of paused trials: asynchronous successive halving (ASHA) as Li et al. 2020 define it.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2. A trial pauses at a rung, with a
checkpoint. It continues to the next rung once it is among the best ``1 / reduction_factor`` of all trials that have
reached the rung. A free worker promotes such a trial if there is one, and begins a new trial otherwise. So a search
first tries many recipes for a few epochs.

Pure functions of the values at the rungs. The work queue calls them inside its transaction.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence

from search.tuning.successive_halving import SuccessiveHalving
from storage.queue.items import RungValues
from storage.values import DEFAULT_TRIAL

AT_END = 1
"""Number of trials that continue from every rung once no new trial will begin."""
ALL = sys.maxsize
"""The same where all may continue, the best first."""
Rung = tuple[int, int]
"""(epochs of the trial, epoch of the rung): trials with different numbers of epochs are not compared."""


class Promotion:
    """Chooses the paused trial that continues. The rungs are those of `SuccessiveHalving`."""

    def __init__(self, halving: SuccessiveHalving) -> None:
        self._halving = halving

    def pauses_at(self, trial: RungValues, epoch: int) -> bool:
        """Whether a trial that has completed ``epoch`` has come to a rung that it has not passed yet.

        The default recipe never pauses, because all others are compared with it.
        """
        return self.is_rung(trial, epoch) and trial.number != DEFAULT_TRIAL

    def is_rung(self, trial: RungValues, epoch: int) -> bool:
        """Whether ``epoch`` is a rung at which the trial's value is not recorded yet."""
        return epoch in self._halving.rungs(trial.epochs) and epoch not in trial.values

    def choose(
        self,
        trials: Sequence[RungValues],
        homes: Collection[str | None],
        skip: Collection[int] = (),
        *,
        at_least: int = 0,
    ) -> int | None:
        """The paused trial to continue: that of the highest rung, and of these the best. None: none is good enough.

        Among ``n`` trials at a rung the best ``n // reduction_factor`` continue. Equal values are ordered by number, so
        that all workers choose alike. A value that is not finite is the worst.

        Args:
            trials: all trials of the study that have reached a rung, without failed ones.
            homes: of the caller's checkpoints: trials that are paused in other homes are not chosen.
            skip: ids of work items that are not chosen.
            at_least: number of trials that continue from every rung, however few have reached it. `AT_END` where no
                new trial will begin; `ALL` where there is no time for a new one.

        Returns:
            The id of the work item.
        """
        found = [
            (-epoch / epochs, place, trial.number, trial.work_id)
            for (epochs, epoch), ranking in _rankings(trials).items()
            for place, trial in enumerate(ranking[: max(at_least, self._slots(len(ranking)))])
            if trial.paused_after == epoch and trial.home in (None, *homes) and trial.work_id not in skip
        ]
        return min(found)[-1] if found else None

    def hopeless(self, trials: Sequence[RungValues], budget: int | None) -> set[int]:
        """Ids of the paused items that no further trial can bring among the best of their rung.

        Args:
            trials: as in `choose`.
            budget: number of trials of the whole study; None: no limit, so that every trial may be promoted one day.
        """
        if budget is None:
            return set()
        return {
            trial.work_id
            for (_, epoch), ranking in _rankings(trials).items()
            for trial in ranking[max(AT_END, self._slots(max(budget, len(ranking)))) :]
            if trial.paused_after == epoch
        }

    def _slots(self, reached: int) -> int:
        """How many of the trials that have reached a rung may continue."""
        return reached // self._halving.reduction_factor if reached >= self._halving.startup_trials else 0


def _rankings(trials: Sequence[RungValues]) -> dict[Rung, list[RungValues]]:
    """The trials that have reached each rung, the best first."""
    reached: dict[Rung, list[RungValues]] = defaultdict(list)
    for trial in trials:
        for epoch in trial.values:
            reached[trial.epochs, epoch].append(trial)
    return {rung: sorted(some, key=lambda trial: _order(trial, rung[1])) for rung, some in reached.items()}


def _order(trial: RungValues, epoch: int) -> tuple[float, int]:
    value = trial.values[epoch]
    return -value if value is not None and math.isfinite(value) else math.inf, trial.number
