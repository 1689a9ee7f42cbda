"""Names in a study file -> what gives trials up early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import optuna

from search.tuning.successive_halving import SuccessiveHalving
from storage.optuna_storage import stored_trial
from studies.spec import SearchSettings, StudyError

if TYPE_CHECKING:
    from trainer.training.results import EpochReport


class Pruner(Protocol):
    """Asked after every epoch of a search trial but the last."""

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        """Whether the trial, which has just reported, is not worth its further epochs.

        Nothing may depend on which process asks: a trial that another worker adopts is judged as before.
        """
        ...


class Never:
    """Every trial runs to its end."""

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        return False


class OptunaPruner:
    """A pruner that needs nothing but reported numbers."""

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self._pruner = pruner

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        return self._pruner.prune(trial.study, stored_trial(trial))


PRUNERS: dict[str, Callable[[SearchSettings], Pruner]] = {
    "successive_halving": lambda settings: OptunaPruner(
        SuccessiveHalving(
            min_epochs=settings.min_epochs,
            reduction_factor=settings.reduction_factor,
            startup_trials=settings.startup_trials,
            last_rung=settings.last_rung,
        )
    ),
    "none": lambda settings: Never(),
}


def make_pruner(settings: SearchSettings) -> Pruner:
    """The pruner that a study names.

    Raises:
        StudyError: a stored study names a pruner that was removed.
    """
    if settings.pruner not in PRUNERS:
        raise StudyError(
            f"the study names the pruner {settings.pruner!r}, which was removed. To go on, type its `search start` "
            f"again with search.pruner as one of {', '.join(PRUNERS)}, in the study file or by --set"
        )
    return PRUNERS[settings.pruner](settings)
