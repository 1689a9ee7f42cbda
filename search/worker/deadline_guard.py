"""What a worker may begin and go on with before a study's deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.study_state.snapshot import kinds_in_time, read_costs, search_records
from search.study_state.study import Study, read_study
from search.study_state.time_budget import latest_end
from search.study_state.training_costs import length_ratio
from storage.queue.items import WorkItem
from storage.stores import Stores
from storage.values import TrialRecord, WorkKind
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport


class DeadlineGuard:
    """Keeps one worker from trainings that would end too late."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._records: dict[int, tuple[TrialRecord, ...]] = {}  # by study, of the search trials that have ended
        self._given_up: dict[int, float] = {}  # trials' work items that were too late, and for which deadline

    def kinds_to_begin(self, study: Study) -> tuple[WorkKind, ...]:
        """What may be begun now: nothing that would leave too little time for what follows it, and refits always."""
        if study.deadline is None:
            return tuple(WorkKind)
        trials, confirmations = kinds_in_time(self._stores, study, self._search_records(study))
        return (*[WorkKind.SEARCH] * trials, *[WorkKind.CONFIRM] * confirmations, WorkKind.REFIT)

    def given_up(self, study: Study) -> set[int]:
        """Work items of trials that this worker has handed back for want of time, and would be the first to take."""
        return {work_id for work_id, deadline in self._given_up.items() if deadline == study.deadline}

    def is_too_late(self, study: Study, item: WorkItem, recipe: Recipe, report: EpochReport) -> bool:
        """Whether a training of ``recipe`` that has just ended an epoch would end too late, were the epochs to come
        like this one.
        """
        study, kind = read_study(self._stores, study.name), item.kind
        left = report.epochs - report.epoch
        if study.deadline is None or kind is WorkKind.REFIT or not left:
            return False
        costs = read_costs(self._stores, study, self._search_records(study))
        final = report.epochs * report.seconds
        if kind is WorkKind.SEARCH:
            final *= length_ratio(recipe.to_flat(), study.spec.final)
        end = self._stores.database.now() + left * report.seconds
        late = end > latest_end(costs, kind, deadline=study.deadline, final=final)
        if late and kind is WorkKind.SEARCH:
            self._given_up[item.id] = study.deadline
        return late

    def _search_records(self, study: Study) -> tuple[TrialRecord, ...]:
        """The study's ended search trials. They are read again only when another one has ended."""
        self._records[study.id] = search_records(self._stores, study.id, self._records.get(study.id, ()))
        return self._records[study.id]
