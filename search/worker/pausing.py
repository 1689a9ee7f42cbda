"""Pausing search trials at a rung, and ending those that never continue (`search.tuning.promotion`)."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from search.runtime.heartbeat import processes_present
from search.runtime.home import Home
from search.runtime.kept_networks import artifacts_of
from search.study_state.study import Study, read_study
from search.tracking.trackers import Trackers
from search.tuning.promotion import AT_END
from search.tuning.report_to_optuna import report_to_optuna
from search.tuning.restore_optuna import optuna_study
from search.worker.task import LeaseLost
from storage.queue.items import RungValues, WorkItem, rung_values_of
from storage.queue.pausing import Choices
from storage.records.workers import Role
from storage.stores import Stores
from storage.values import StudyState, WorkKind, WorkState, finite_or_none

if TYPE_CHECKING:
    from search.worker.study_context import StudyContext
    from trainer.training.results import EpochReport

log = logging.getLogger(__name__)


class RungKeeper:
    """The rungs of one trial in training. Decides at each of them whether the trial pauses."""

    def __init__(self, context: StudyContext, item: WorkItem, epochs: int) -> None:
        """
        Args:
            epochs: of the trial's recipe.
        """
        self._context, self._item = context, item
        self._rule = context.promotion if item.kind is WorkKind.SEARCH else None
        known = rung_values_of(item.id, item.trial_number or 0, item.note)
        if known is None or known.epochs != epochs:
            known = RungValues(
                work_id=item.id, number=item.trial_number or 0, epochs=epochs, values={}, paused_after=None, home=None
            )
        self._reached = known
        self.paused: RungValues | None = None
        """The trial at the rung where it pauses, once `pauses` has returned True."""

    def pauses(self, report: EpochReport) -> bool:
        """Whether the trial pauses after the epoch of ``report``.

        It goes on if the epoch is no rung, if the trial has been promoted from this rung already, or if the rule would
        promote it now. Then its value at the rung is recorded.

        Raises:
            LeaseLost: another worker holds the item.
        """
        rule, stores = self._rule, self._context.stores
        if rule is None or not rule.is_rung(self._reached, report.epoch):
            return False
        value = finite_or_none(report.mean_true_probability)
        reached = replace(self._reached, values={**self._reached.values, report.epoch: value})
        if rule.pauses_at(self._reached, report.epoch):
            home = self._context.home.identity()
            candidate = replace(reached, paused_after=report.epoch, home=home)
            others = [
                trial for trial in stores.queue.rung_values(self._item.study_id) if trial.work_id != self._item.id
            ]
            if rule.choose([*others, candidate], {home}) != self._item.id:
                self.paused = candidate
                return True
        if not stores.queue.pass_rung(self._item, reached):
            raise LeaseLost
        self._reached = reached
        return False


def end_hopeless(context: StudyContext) -> None:
    """End the paused trials that can no longer be promoted, whatever the remaining trials of the budget score."""
    rule, stores, study_id = context.promotion, context.stores, context.study.id
    if rule is None:
        return
    budget = read_study(stores, context.study.name).budget
    if rule.hopeless(stores.queue.rung_values(study_id), budget):
        _end(stores, context.study, context.home, lambda trials: rule.hopeless(trials, budget), context.trackers)


def end_when_over(context: StudyContext) -> None:
    """End all paused trials of a search in which no trial runs or waits, none may begin, and none can be promoted.

    A trial can be promoted if its home has a live worker of the study.
    """
    stores, study_id, rule = context.stores, context.study.id, context.promotion
    if not is_last_phase(stores, study_id):
        return
    present = processes_present(stores.workers, study_id)
    homes = {context.home.identity(), *(process.home for process in present if process.role is Role.WORKER)}
    if rule is None or rule.choose(stores.queue.rung_values(study_id), homes, at_least=AT_END) is None:
        end_all(stores, context.study, context.home, context.trackers)


def is_last_phase(stores: Stores, study_id: int) -> bool:
    """Whether trials are paused while no other trial of the study runs or waits, and none may begin."""
    queue = stores.queue
    if not queue.count_paused(study_id) or stores.studies.state(study_id) is not StudyState.RUNNING:
        return False
    counts = queue.counts(study_id)[WorkKind.SEARCH]
    return not (counts[WorkState.QUEUED] + counts[WorkState.LEASED] or queue.may_begin(study_id))


def end_all(stores: Stores, study: Study, home: Home | None, trackers: Trackers | None = None) -> None:
    """End all paused trials of a study as pruned, because its search is over.

    Args:
        home: from which their checkpoints are removed at once; None: from none.
        trackers: what else records their end; None: nothing.
    """
    if stores.queue.count_paused(study.id):
        _end(stores, study, home, _all_paused, trackers or Trackers())


def _all_paused(trials: Collection[RungValues]) -> set[int]:
    return {trial.work_id for trial in trials if trial.paused_after is not None}


def _end(stores: Stores, study: Study, home: Home | None, choose: Choices, trackers: Trackers) -> None:
    """End paused trials: report them to Optuna, and remove their checkpoints from this home.

    Those in other homes are removed by their workers (`search.runtime.disk.tidy`).
    """
    ended = stores.queue.end_paused(study.id, choose)
    if not ended:
        return
    log.info("%d paused trial(s) of study %s end as pruned", len(ended), study.name)
    report_to_optuna(stores, study.id, optuna_study(stores, study.stored))
    for work_id in ended if trackers else ():
        record = stores.trials.record_of(work_id)
        if record is not None:
            trackers.on_trial_end(study.tracked(stores.database.identity), record)
    if home is None:
        return
    artifacts, here = artifacts_of(stores, home), home.identity()
    for work_id, of_home in ended.items():
        if of_home == here:
            artifacts.remove_checkpoint(study.name, work_id)
