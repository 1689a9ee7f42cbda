"""Retry of failed trainings."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from search.runtime.failures import WorkerLeaves
from search.study_state.optuna_attributes import RETRY_ATTRIBUTE
from search.study_state.search_trials import lasting_failures
from search.tuning.retry import NotFailed, retry_failed, retry_host_failures
from search.worker.dead_workers import stop_after_failures
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.workflow.control import retry
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.small_study import work_on

pytestmark = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)


def fail_next(context: StudyContext, error: Exception | None = None) -> None:
    """Sample the next trial and let its training raise ``error``."""
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None

    def broken(*args: object) -> None:
        raise error or KeyError("broken")

    run_item(replace(context, train=broken), item, lambda: False)


@pytest.mark.slow
def test_failed_trials_run_again_with_the_same_parameters_and_once_only(context: StudyContext) -> None:
    fail_next(context)
    fail_next(context)
    assert [r.number for r in lasting_failures(context.stores.trials.records(context.study.id))] == [0, 1]
    again = retry_failed(context.stores, context.study)
    assert (again.trials, again.refits) == (2, 0)
    assert retry_failed(context.stores, context.study).total == 0, "they are queued already"
    work_on(context)
    assert not lasting_failures(context.stores.trials.records(context.study.id))
    trials = context.optuna_study.get_trials()
    assert [t.user_attrs.get(RETRY_ATTRIBUTE) for t in trials[2:4]] == [0, 1]
    assert [t.params for t in trials[2:4]] == [t.params for t in trials[:2]]
    finished = context.stores.trials.records(context.study.id, status=TrialStatus.FINISHED)
    assert [r.number for r in finished] == [2, 3, 4], "failed trials do not count against the budget of three"
    recipes = [r.recipe for r in context.stores.trials.records(context.study.id)]
    assert recipes[2] == recipes[0] == context.spec.default_recipe()
    assert retry_failed(context.stores, context.study).total == 0


def test_a_single_trial_is_retried_by_number(context: StudyContext) -> None:
    fail_next(context)
    fail_next(context)
    with pytest.raises(NotFailed, match="7; failed: 0, 1"):
        retry_failed(context.stores, context.study, [1, 7])
    assert retry_failed(context.stores, context.study, [1]).trials == 1
    assert retry_failed(context.stores, context.study).trials == 1


@pytest.mark.slow
def test_trials_that_failed_on_a_full_disk_are_retried_as_host_failures_and_no_others(context: StudyContext) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(WorkerLeaves):
        fail_next(context, full)
    fail_next(context)
    assert retry_host_failures(context.stores, context.study).trials == 1
    assert retry_host_failures(context.stores, context.study).trials == 0
    work_on(context)
    trials = context.optuna_study.get_trials()
    assert [t.user_attrs.get(RETRY_ATTRIBUTE) for t in trials] == [None, None, 0, None, None]


@pytest.mark.slow
def test_failed_refits_are_reopened(context: StudyContext) -> None:
    queue, recipe = context.stores.queue, context.spec.default_recipe()
    refit = queue.add(context.study.id, WorkKind.REFIT, split=0, seed=1, recipe=recipe)
    item = queue.take(context.study.id, "w", LEASE, kinds=(WorkKind.REFIT,))
    assert item is not None and queue.fail(item, Failure.DISK, "full")
    assert retry_failed(context.stores, context.study).refits == 1
    work_on(context)
    record = context.stores.trials.record_of(refit)
    assert record is not None and record.status is TrialStatus.FINISHED


def test_a_trial_that_failed_before_it_was_sampled_is_not_retried(context: StudyContext) -> None:
    item = context.stores.queue.take(context.study.id, "w", LEASE)
    assert item is not None and context.stores.queue.fail(item, Failure.BUG, "before asking")
    assert retry_failed(context.stores, context.study).total == 0


def test_a_study_stopped_by_failures_continues_after_a_retry(context: StudyContext, url: str) -> None:
    context.stores.studies.set_budget(context.study.id, 10)
    for _ in range(5):
        fail_next(context)
    stop_after_failures(context.stores, context.study.id)
    assert context.stores.studies.get("colours").state is StudyState.STOPPED
    retry("colours", url, None)
    assert context.stores.studies.get("colours").state is StudyState.RUNNING
    stop_after_failures(context.stores, context.study.id)
    assert context.stores.studies.get("colours").state is StudyState.RUNNING, "earlier failures no longer count"


@pytest.mark.slow
def test_a_recipe_that_fails_again_counts_as_one_failure(context: StudyContext) -> None:
    fail_next(context)
    fail_next(context)
    assert retry_failed(context.stores, context.study).trials == 2
    fail_next(context)
    records = context.stores.trials.records(context.study.id)
    assert len(records) == 3 and [record.number for record in lasting_failures(records)] == [1, 2]
    assert records[2].recipe == records[0].recipe
    assert retry_failed(context.stores, context.study).trials == 1
    work_on(context)
    assert not lasting_failures(context.stores.trials.records(context.study.id))
