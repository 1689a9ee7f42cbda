"""Failed trainings once more."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from search.runtime.failures import WorkerLeaves
from search.study_state.optuna_attributes import RETRY_ATTRIBUTE
from search.tuning.retry import NotFailed, retry_blameless, retry_failed
from search.worker.dead_workers import stop_after_failures
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import Bench
from search.workflow.control import retry
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.databases import DIALECTS
from tests.search.colours import work_on

pytestmark = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)


def fail_next(bench: Bench, error: Exception | None = None) -> None:
    """The next trial is sampled, then its training breaks."""
    item = bench.ledger.queue.take(bench.study.id, bench.worker, LEASE)
    assert item is not None

    def broken(*args: object) -> None:
        raise error or KeyError("broken")

    run_item(replace(bench, train=broken), item, lambda: False)


def test_failed_trials_run_again_with_the_same_parameters_and_once_only(bench: Bench) -> None:
    fail_next(bench)
    fail_next(bench)
    again = retry_failed(bench.ledger, bench.study)
    assert (again.trials, again.refits) == (2, 0)
    assert retry_failed(bench.ledger, bench.study).total == 0, "they are queued already"
    work_on(bench)
    trials = bench.optuna_study.get_trials()
    assert [t.user_attrs.get(RETRY_ATTRIBUTE) for t in trials[2:4]] == [0, 1]
    assert [t.params for t in trials[2:4]] == [t.params for t in trials[:2]]
    finished = bench.ledger.runs.records(bench.study.id, status=TrialStatus.FINISHED)
    assert [r.number for r in finished] == [2, 3, 4], "the budget of three is for trials that came out"
    recipes = [r.recipe for r in bench.ledger.runs.records(bench.study.id)]
    assert recipes[2] == recipes[0] == bench.spec.default_recipe()
    assert retry_failed(bench.ledger, bench.study).total == 0


def test_one_of_them_by_number(bench: Bench) -> None:
    fail_next(bench)
    fail_next(bench)
    with pytest.raises(NotFailed, match="7; failed: 0, 1"):
        retry_failed(bench.ledger, bench.study, [1, 7])
    assert retry_failed(bench.ledger, bench.study, [1]).trials == 1
    assert retry_failed(bench.ledger, bench.study).trials == 1


def test_going_on_with_a_study_repeats_what_failed_for_want_of_disk_and_nothing_else(bench: Bench) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(WorkerLeaves):
        fail_next(bench, full)
    fail_next(bench)
    assert retry_blameless(bench.ledger, bench.study).trials == 1
    assert retry_blameless(bench.ledger, bench.study).trials == 0
    work_on(bench)
    trials = bench.optuna_study.get_trials()
    assert [t.user_attrs.get(RETRY_ATTRIBUTE) for t in trials] == [None, None, 0, None, None]


def test_failed_refits_are_opened_again(bench: Bench) -> None:
    queue, recipe = bench.ledger.queue, bench.spec.default_recipe()
    refit = queue.add(bench.study.id, WorkKind.REFIT, split=0, seed=1, recipe=recipe)
    item = queue.take(bench.study.id, "w", LEASE, kinds=(WorkKind.REFIT,))
    assert item is not None and queue.fail(item, Failure.DISK, "full")
    assert retry_failed(bench.ledger, bench.study).refits == 1
    work_on(bench)
    record = bench.ledger.runs.record_of(refit)
    assert record is not None and record.status is TrialStatus.FINISHED


def test_a_trial_that_failed_before_it_was_sampled_has_nothing_to_repeat(bench: Bench) -> None:
    item = bench.ledger.queue.take(bench.study.id, "w", LEASE)
    assert item is not None and bench.ledger.queue.fail(item, Failure.BUG, "before asking")
    assert retry_failed(bench.ledger, bench.study).total == 0


def test_a_study_stopped_by_failures_goes_on_after_a_retry(bench: Bench, url: str) -> None:
    bench.ledger.studies.set_budget(bench.study.id, 10)
    for _ in range(5):
        fail_next(bench)
    stop_after_failures(bench.ledger, bench.study.id)
    assert bench.ledger.studies.get("colours").state is StudyState.STOPPED
    retry("colours", url, None)
    assert bench.ledger.studies.get("colours").state is StudyState.RUNNING
    stop_after_failures(bench.ledger, bench.study.id)
    assert bench.ledger.studies.get("colours").state is StudyState.RUNNING, "they count no more"
