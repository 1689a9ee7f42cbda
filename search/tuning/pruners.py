"""The pruners that a study file can name (``pruner`` in its ``[search]`` table)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import optuna

from search.tuning.promotion import Promotion
from search.tuning.successive_halving import SuccessiveHalving
from storage.optuna_storage.optuna_trials import stored_trial
from studies.spec import SearchSettings, StudyError

if TYPE_CHECKING:
    from trainer.training.results import EpochReport


class Pruner(Protocol):
    """Decides after every epoch of a search trial, except for the last, whether the trial stops."""

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        """Whether the trial stops after the epoch of ``report``, whose value it has reported to Optuna.

        The answer must not depend on the calling process, because another worker may continue the trial.
        """
        ...


class Never:
    """Never prunes."""

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        return False


class OptunaPruner:
    """An Optuna pruner, which decides by the reported values alone."""

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self._pruner = pruner

    def gives_up(self, trial: optuna.Trial, report: EpochReport) -> bool:
        return self._pruner.prune(trial.study, stored_trial(trial))


def _halving(settings: SearchSettings) -> SuccessiveHalving:
    return SuccessiveHalving(
        min_epochs=settings.min_epochs,
        reduction_factor=settings.reduction_factor,
        startup_trials=settings.startup_trials,
        last_rung=settings.last_rung,
    )


PRUNERS: dict[str, Callable[[SearchSettings], Pruner]] = {
    "successive_halving": lambda settings: OptunaPruner(_halving(settings)),
    "promotion": lambda settings: Never(),  # `make_promotion` pauses trials instead
    "none": lambda settings: Never(),
}


def make_pruner(settings: SearchSettings) -> Pruner:
    """The pruner that a study names.

    Raises:
        StudyError: the stored study names a pruner that this release no longer has.
    """
    if settings.pruner not in PRUNERS:
        raise StudyError(
            f"the study names the pruner {settings.pruner!r}, which was removed. To go on, type its `search start` "
            f"again with search.pruner as one of {', '.join(PRUNERS)}, in the study file or by --set"
        )
    return PRUNERS[settings.pruner](settings)


def make_promotion(settings: SearchSettings) -> Promotion | None:
    """The rule by which a study pauses and promotes its trials; None if it prunes them."""
    return Promotion(_halving(settings)) if settings.pruner == "promotion" else None
