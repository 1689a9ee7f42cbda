"""Deadline of a study: which work items a worker may begin, and which trainings it must stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.study_state.search_trials import search_records
from search.study_state.study import Study, read_study
from search.study_state.time_budget import latest_end
from search.study_state.time_left import kinds_in_time, read_costs
from search.study_state.training_costs import length_ratio
from storage.queue.items import WorkItem
from storage.stores import Stores
from storage.values import TrialRecord, WorkKind
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport


class DeadlineGuard:
    """Keeps one worker from trainings that would end too late for their study's deadline."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._records: dict[int, tuple[TrialRecord, ...]] = {}  # ended search trials, by study id
        self._given_up: dict[int, float] = {}  # missed deadline, by work item id

    def kinds_to_begin(self, study: Study) -> tuple[WorkKind, ...]:
        """The kinds of work that may begin now.

        Trials and confirmations must leave enough time for the work that follows them; refits may always begin.
        """
        if study.deadline is None:
            return tuple(WorkKind)
        trials, confirmations = kinds_in_time(self._stores, study, self._search_records(study))
        return (*[WorkKind.SEARCH] * trials, *[WorkKind.CONFIRM] * confirmations, WorkKind.REFIT)

    def given_up(self, study: Study) -> set[int]:
        """Ids of the search items that this worker has released as too late for the present deadline.

        The worker has to skip them. Otherwise it would be the first to take them again.
        """
        return {work_id for work_id, deadline in self._given_up.items() if deadline == study.deadline}

    def is_too_late(self, study: Study, item: WorkItem, recipe: Recipe, report: EpochReport) -> bool:
        """Whether a training would end too late, if its remaining epochs take as long as the last one.

        A search item that would end too late is one of `given_up` from then on.

        Args:
            study: the study of the item. This call reads it again, because its deadline may have changed.
            report: report of the last epoch.
        """
        study, kind = read_study(self._stores, study.name), item.kind
        epochs_left = report.epochs - report.epoch
        if study.deadline is None or kind is WorkKind.REFIT or not epochs_left:
            return False
        costs = read_costs(self._stores, study, self._search_records(study))
        export_seconds = report.epochs * report.seconds
        if kind is WorkKind.SEARCH:
            export_seconds *= length_ratio(recipe.to_flat(), study.spec.final)
        end = self._stores.database.now() + epochs_left * report.seconds
        late = end > latest_end(costs, kind, deadline=study.deadline, export_seconds=export_seconds)
        if late and kind is WorkKind.SEARCH:
            self._given_up[item.id] = study.deadline
        return late

    def _search_records(self, study: Study) -> tuple[TrialRecord, ...]:
        """The study's ended search trials, read again only when another one has ended."""
        self._records[study.id] = search_records(self._stores, study.id, self._records.get(study.id, ()))
        return self._records[study.id]
