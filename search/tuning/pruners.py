"""Names in a study file -> what gives trials up early."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import optuna

from search.tuning.paired_race import PairedRace
from search.tuning.successive_halving import SuccessiveHalving
from storage.records.studies import StoredStudy
from storage.stores import Ledger
from studies.spec import SearchSettings

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
        return self._pruner.prune(trial.study, trial.storage.get_trial(trial._trial_id))


PRUNERS: dict[str, Callable[[SearchSettings, Ledger, StoredStudy], Pruner]] = {
    "paired_race": lambda settings, ledger, study: PairedRace(
        partial(ledger.runs.leader_at, study.id),
        margin=settings.race_margin,
        min_epochs=settings.min_epochs,
        weights=ledger.weights(study),
    ),
    "successive_halving": lambda settings, ledger, study: OptunaPruner(
        SuccessiveHalving(
            min_epochs=settings.min_epochs,
            reduction_factor=settings.reduction_factor,
            startup_trials=settings.startup_trials,
            last_rung=settings.last_rung,
        )
    ),
    "none": lambda settings, ledger, study: Never(),
}


def make_pruner(settings: SearchSettings, ledger: Ledger, study: StoredStudy) -> Pruner:
    """The pruner that a study file names."""
    return PRUNERS[settings.pruner](settings, ledger, study)
