"""Deadline of a study: which work items a worker may begin, and the time limits of its trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from search.study_state.study import Study, read_study
from search.study_state.time_budget import (
    Costs,
    confirmations_in_time,
    is_time_for_trial,
    is_time_for_whole_trial,
    latest_end,
)
from search.study_state.time_left import EndedTrainings, most_give_ups, read_costs, read_ended
from search.study_state.training_costs import is_fine_tuned
from search.worker.limits.image_passes import ImagePasses
from search.worker.limits.limit import Limit, NoLimit
from search.worker.limits.study_time import StudyTime
from search.worker.limits.time_limit import TimeLimit
from storage.queue.items import WorkItem
from storage.stores import Stores
from storage.values import FULL_DATA_SPLIT, WorkKind
from trainer.common.environment import cpu_name

if TYPE_CHECKING:
    import torch

    from trainer.training.throughput import Rehearsal


class DeadlineGuard:
    """Keeps one worker from trainings that would end too late for their study's deadline."""

    def __init__(self, stores: Stores, device: str | None = None) -> None:
        """
        Args:
            device: of the worker, as `device_name` returns it; None: any.
        """
        self._stores = stores
        self._device = device
        self._ended: dict[int, EndedTrainings] = {}  # by study id
        self._ended_before, self._given_up_before = -1, 0  # trials ended and given up when a trial ended or paused last
        self._rehearsals: dict[int, dict[str, tuple[int, Rehearsal]]] = {}  # by study id, see `TimeLimit`
        self._counts: dict[int, tuple[int, int]] = {}  # training and test images by study id
        self._measured: set[int] = set()  # ids of the studies of which a trial has ended
        self._limits: dict[int, TimeLimit] = {}  # of the trainings that were given up, by work item id

    def kinds_to_begin(self, study: Study) -> tuple[WorkKind, ...]:
        """The kinds of work that may begin now: those that would leave enough time for the work that follows them.

        Where no trial fits any more, a probe that waits may.
        """
        if study.deadline is None:
            return tuple(WorkKind)
        state = self._read(study)
        costs, now, deadline = state.costs, state.now, study.deadline
        refit_end = latest_end(costs, WorkKind.REFIT, deadline=deadline, final_seconds=0.0)
        may_begin = {
            WorkKind.SEARCH: self._is_time_for_trial(state, deadline) or self._probe_waits(study),
            WorkKind.CONFIRM: confirmations_in_time(costs, now=now, deadline=deadline) > 0,
            # After the deadline, `search export-best` has asked for a refit.
            WorkKind.REFIT: now >= deadline or now + (costs.final or 0.0) <= refit_end,
        }
        return tuple(kind for kind in WorkKind if may_begin[kind])

    def is_time_for_trial(self, study: Study) -> bool:
        """Whether a new trial that is no probe may begin now."""
        return study.deadline is None or self._is_time_for_trial(self._read(study), study.deadline)

    def _is_time_for_trial(self, state: StudyTime, deadline: float) -> bool:
        return is_time_for_trial(state.costs, now=state.now, deadline=deadline) and self._trials_may_fit(state)

    def _probe_waits(self, study: Study) -> bool:
        return study.budget != 0 and self._stores.queue.probes(study.id)[1] > 0

    def is_time_for_whole_trial(self, study: Study) -> bool:
        """Whether a new trial could train all its epochs before the stages that follow the search."""
        if study.deadline is None:
            return True
        state = self._read(study)
        return is_time_for_whole_trial(state.costs, now=state.now, deadline=study.deadline)

    def given_up(self, study: Study) -> set[int]:
        """Ids of the items that this worker has released as too late for the present deadline.

        The worker has to skip them. Otherwise it would be the first to take them again.
        """
        return {work_id for work_id, limit in self._limits.items() if limit.missed == study.deadline is not None}

    def _trials_given_up(self, study: Study) -> int:
        """Number of `given_up` trainings that predict the next; a probe before trials has only missed its share."""
        counting = [work_id for work_id, limit in self._limits.items() if study.budget == 0 or not limit.of_probe]
        return len(self.given_up(study).intersection(counting))

    def limit(self, study: Study, item: WorkItem, has_checkpoint: Callable[[], bool]) -> Limit:
        """The time limit of the training of an item that this worker has taken.

        Args:
            has_checkpoint: as for `TimeLimit`.
        """
        name, deadline = study.name, study.deadline
        if item.kind is WorkKind.REFIT and deadline is not None and self._stores.database.now() >= deadline:
            return NoLimit()
        limit = TimeLimit(
            item.kind,
            lambda: self._read(read_study(self._stores, name)),  # its deadline may have changed
            images=self._images_of(study, item),
            device=self._device or "",
            has_checkpoint=has_checkpoint,
            rehearse=self._is_first(study, item),
            rehearsals=self._rehearsals.setdefault(study.id, {}),
        )
        self._limits = {work_id: known for work_id, known in self._limits.items() if known.missed is not None}
        self._limits[item.id] = limit
        return limit

    def _images_of(self, study: Study, item: WorkItem) -> ImagePasses:
        """The images of the training of an item."""
        if study.id not in self._counts:
            dataset = self._stores.datasets.get(study.fingerprint)
            self._counts[study.id] = len(dataset.train_ids), len(dataset.test_ids)
        return ImagePasses.of_folds(
            *self._counts[study.id], 1 if item.split == FULL_DATA_SPLIT else study.protocol.folds
        )

    def _is_first(self, study: Study, item: WorkItem) -> bool:
        """Whether no trial of a study without a deadline has ended that would show how long the next one takes.

        Probes say nothing about that. Whether the item is one may not be known yet.
        """
        if study.deadline is not None or item.kind is not WorkKind.SEARCH or study.id in self._measured:
            return False
        if not any(map(is_fine_tuned, self._stores.trials.records(study.id, kind=WorkKind.SEARCH))):
            return True
        self._measured.add(study.id)
        return False

    def _trials_may_fit(self, state: StudyTime) -> bool:
        """Whether this worker has not just given up several trials, or the first one: the next would be no faster."""
        ended = len(state.ended.trials) + len(state.ended.paused)
        if ended != self._ended_before:
            self._ended_before, self._given_up_before = ended, self._trials_given_up(state.study)
        return self._trials_given_up(state.study) - self._given_up_before < most_give_ups(state.costs)

    def _read(self, study: Study) -> StudyTime:
        """The present costs of a study. Its ended trainings are read again only when another one has ended.

        Without a deadline no cost matters, and none is read.
        """
        if study.deadline is None:
            return StudyTime(study=study, costs=Costs(workers=1), ended=EndedTrainings(), now=0.0)
        ended = read_ended(self._stores, study.id, self._ended.get(study.id))
        self._ended[study.id] = ended
        costs = read_costs(self._stores, study, ended, self._device)
        return StudyTime(study=study, costs=costs, ended=ended, now=self._stores.database.now())


def device_name(device: torch.device) -> str:
    """The model of a device, as `search.study_state.training_costs.device_of` reads it from a stored training."""
    import torch

    return cpu_name() if device.type == "cpu" else torch.cuda.get_device_name(device)
