"""Failed trainings once more.

A trial that failed has ended for Optuna, so it is tried again as a new one with the same parameters. It takes the place
that the failed one never took in the budget.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE, RETRY_ATTRIBUTE
from search.study_state.study import Study
from storage.stores import Stores
from storage.values import Failure, TrialStatus, WorkKind


class NotFailed(ValueError):  # noqa: N818 - named for the fact
    """Only what failed can be tried again."""


@dataclass(frozen=True, kw_only=True)
class Retried:
    """How many were queued again."""

    trials: int
    refits: int

    @property
    def total(self) -> int:
        """All that were queued."""
        return self.trials + self.refits

    def sentence(self, study: str) -> str:
        """For people."""
        if not self.total:
            return f"Nothing of study {study} waits to be tried again."
        parts = [f"{self.trials} trial(s)"] * bool(self.trials) + [f"{self.refits} refit(s)"] * bool(self.refits)
        return f"{' and '.join(parts)} of study {study} are tried again."


BLAMELESS = frozenset({Failure.DISK, Failure.DEVICE, Failure.DATA})
"""Failures of a host, which say nothing about the trial: a person who goes on with a study has mended them."""


def retry_blameless(stores: Stores, study: Study) -> Retried:
    """Queue the trials again that failed by no fault of their own."""
    failed = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FAILED)
    numbers = [record.number for record in failed if record.failure in BLAMELESS and record.number is not None]
    return retry_failed(stores, study, numbers)


def retry_failed(stores: Stores, study: Study, numbers: Collection[int] | None = None) -> Retried:
    """Queue failed trials again, each at most once, and without ``numbers`` also refits and confirmations.

    Raises:
        NotFailed: a number is not that of a failed trial.
    """
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    trials = [record for record in failed if record.kind is WorkKind.SEARCH and record.number is not None]
    if numbers is not None:
        wrong = sorted(set(numbers) - {record.number for record in trials})
        if wrong:
            which = ", ".join(str(record.number) for record in trials) or "none"
            raise NotFailed(f"not a failed trial of {study.name}: {', '.join(map(str, wrong))}; failed: {which}")
        trials = [record for record in trials if record.number in numbers]
    backend = stores.optuna_study(study.name)
    known = backend.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(RETRY_ATTRIBUTE) for trial in known}
    params = {trial.number: trial.params for trial in known}
    open_again = [record for record in trials if record.number not in repeated and record.recipe is not None]
    for record in open_again:
        assert record.number is not None and record.recipe is not None
        attributes = {RETRY_ATTRIBUTE: record.number, EPOCHS_ATTRIBUTE: record.recipe["epochs"]}
        backend.enqueue_trial(params[record.number], user_attrs=attributes)
    others = [] if numbers is not None else [record for record in failed if record.kind is not WorkKind.SEARCH]
    return Retried(
        trials=len(open_again),
        refits=sum(stores.queue.reopen(record.work_id) for record in others),
    )
