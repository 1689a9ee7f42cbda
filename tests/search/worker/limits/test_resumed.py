"""The time limit of a training that an earlier worker has begun, on a real study with tiny networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from search.study_state.study import Study
from search.worker.lease import LEASE
from search.worker.limits.deadline_guard import DeadlineGuard
from search.worker.limits.limit import Limit, NoLimit
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from storage.queue.items import WorkItem
from storage.values import TrialStatus, WorkKind
from tests.search.small_study import work_on
from trainer.recipe.recipe import Recipe
from trainer.training.results import EpochReport, Verdict


class OutOfEpochs(NoLimit):
    """A limit with time for the predictions alone."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def after_epoch(self, recipe: Recipe, report: EpochReport) -> Verdict:
        self.asked.append(report.epoch)
        return Verdict.FINISH


class SlowEpoch(OutOfEpochs):
    """A limit that passes in the middle of an epoch, and leaves time for the predictions of the last checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.abandoned = 0
        self.attempts = 0

    def fit(self, recipe: Recipe) -> None:
        self.attempts += 1

    def after_epoch(self, recipe: Recipe, report: EpochReport) -> Verdict:
        verdict = super().after_epoch(recipe, report)
        return Verdict.CONTINUE if self.attempts == 1 else verdict

    def passed(self) -> bool:
        is_in_epoch = self.attempts == 1 and len(self.asked) == 1  # after that of the checkpoint
        self.abandoned += is_in_epoch
        return is_in_epoch

    def ends_at_checkpoint(self) -> bool:
        return self.attempts == 1


def take(context: StudyContext) -> WorkItem:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    return item


def interrupt_after_one_epoch(context: StudyContext) -> int:
    """Begin the first trial, and release it with a checkpoint; the id of its work item."""
    item, questions = take(context), itertools.count()
    assert run_item(context, item, lambda: next(questions) > 0)
    assert context.artifacts.has_checkpoint(context.study.name, item.id)
    return item.id


def test_a_continued_training_without_time_for_an_epoch_ends_with_those_that_it_has(context: StudyContext) -> None:
    work_id = interrupt_after_one_epoch(context)
    item, limit = take(context), OutOfEpochs()
    assert item.id == work_id
    assert run_item(context, item, lambda: False, limit=limit)
    (record,) = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    done = limit.asked[0]
    assert (record.status, record.epochs_done, limit.asked) == (TrialStatus.FINISHED, done, [done])
    assert done < context.study.spec.default_recipe()["epochs"] and record.value is not None


def test_a_training_without_time_for_its_epoch_ends_with_those_of_its_checkpoint(context: StudyContext) -> None:
    interrupt_after_one_epoch(context)
    item, limit = take(context), SlowEpoch()
    assert run_item(context, item, lambda: False, limit=limit)
    (record,) = context.stores.trials.records(context.study.id, kind=WorkKind.SEARCH)
    assert limit.abandoned == 1 and limit.attempts == 2
    assert (record.status, record.epochs_done, limit.asked) == (
        TrialStatus.FINISHED,
        limit.asked[0],
        [record.epochs_done] * 2,
    )
    assert {"oof", "test"} <= set(context.stores.trials.prediction_names(record.id))


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_only_a_checkpoint_ties_a_training_to_its_recipe(
    context: StudyContext, monkeypatch: pytest.MonkeyPatch, has_checkpoint: bool
) -> None:
    """A worker that was killed in the first epoch leaves none: the next one may shorten the training."""
    if has_checkpoint:
        interrupt_after_one_epoch(context)
    else:
        assert context.stores.queue.release(take(context))
    begun: list[bool] = []
    original = DeadlineGuard.limit

    def watched(self: DeadlineGuard, study: Study, item: WorkItem, has_checkpoint: Callable[[], bool]) -> Limit:
        begun.append(has_checkpoint())
        return original(self, study, item, has_checkpoint)

    monkeypatch.setattr(DeadlineGuard, "limit", watched)
    context.stores.studies.set_budget(context.study.id, 1)
    work_on(context)
    assert begun == [has_checkpoint]
