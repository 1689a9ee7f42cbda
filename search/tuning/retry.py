"""Retry of failed trainings.

Optuna cannot reopen a failed trial, so a retry is a new trial with the same parameters. It counts against the budget,
which the failed trial did not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from search.runtime.errors import SearchError
from search.study_state.optuna_attributes import (
    EPOCHS_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    PROBE_ATTRIBUTE,
    PROBE_SIZE_ATTRIBUTE,
    RETRY_ATTRIBUTE,
)
from search.study_state.study import Study
from search.tuning.restore_optuna import optuna_study, record_enqueued
from search.tuning.warm_starts import origins_of
from storage.stores import Stores
from storage.values import Failure, TrialStatus, WorkKind


class NotFailed(SearchError):
    """Only failed trials can be retried."""


@dataclass(frozen=True, kw_only=True)
class Retried:
    """Numbers of failed trainings that were queued again."""

    trials: int
    """Search trials."""
    refits: int
    """Refits and confirmations."""

    @property
    def total(self) -> int:
        """Number of all trainings that were queued again."""
        return self.trials + self.refits

    def sentence(self, study: str) -> str:
        """The result for people."""
        if not self.total:
            return f"Nothing of study {study} waits to be tried again."
        parts = [f"{self.trials} trial(s)"] * bool(self.trials) + [f"{self.refits} refit(s)"] * bool(self.refits)
        return f"{' and '.join(parts)} of study {study} are tried again."


HOST_FAILURES = frozenset({Failure.DISK, Failure.DEVICE, Failure.DATA})
"""Failures of a host that say nothing about the recipe. Resuming a study presumes that their cause is mended."""


def retry_host_failures(stores: Stores, study: Study) -> Retried:
    """Queue the trials again that failed because of their host."""
    failed = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FAILED)
    numbers = [record.number for record in failed if record.failure in HOST_FAILURES and record.number is not None]
    return retry_failed(stores, study, numbers)


def retry_failed(stores: Stores, study: Study, numbers: Collection[int] | None = None) -> Retried:
    """Queue failed trainings again, each trial at most once.

    Args:
        numbers: of the trials to retry; None: all failed trials, refits and confirmations.

    Raises:
        NotFailed: a number is not that of a failed trial.
    """
    failed = stores.trials.records(study.id, status=TrialStatus.FAILED)
    trials = [record for record in failed if record.kind is WorkKind.SEARCH and record.number is not None]
    if numbers is not None:
        wrong = sorted(set(numbers) - {record.number for record in trials})
        if wrong:
            valid = ", ".join(str(record.number) for record in trials) or "none"
            raise NotFailed(f"not a failed trial of {study.name}: {', '.join(map(str, wrong))}; failed: {valid}")
        trials = [record for record in trials if record.number in numbers]
    backend = optuna_study(stores, study.stored)
    known = backend.get_trials(deepcopy=False)
    already_retried = {trial.user_attrs.get(RETRY_ATTRIBUTE) for trial in known}
    params = {trial.number: trial.params for trial in known}
    sizes = {t.number: t.user_attrs[PROBE_SIZE_ATTRIBUTE] for t in known if PROBE_SIZE_ATTRIBUTE in t.user_attrs}
    origins = origins_of(stores, study.name)
    new_retries = [record for record in trials if record.number not in already_retried and record.recipe is not None]
    for record in new_retries:
        assert record.number is not None and record.recipe is not None
        attributes: dict[str, object] = {RETRY_ATTRIBUTE: record.number, EPOCHS_ATTRIBUTE: record.recipe["epochs"]}
        if record.is_probe:
            attributes |= {PROBE_ATTRIBUTE: True, ORIGIN_ATTRIBUTE: origins.get(record.number, "")}
            if record.number in sizes:
                attributes[PROBE_SIZE_ATTRIBUTE] = sizes[record.number]
        backend.enqueue_trial(params[record.number], user_attrs=attributes)
    record_enqueued(stores, study.id, backend)
    others = [] if numbers is not None else [record for record in failed if record.kind is not WorkKind.SEARCH]
    return Retried(
        trials=len(new_retries),
        refits=sum(stores.queue.reopen(record.work_id) for record in others),
    )
