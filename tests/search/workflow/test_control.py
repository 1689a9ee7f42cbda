"""`search pause`, `resume`, `stop` and `retry`, and `search status` meanwhile."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.report.failed_trainings import show_failed
from search.report.status import human_size, show_status
from search.runtime.heartbeat import Heartbeat, processes_present
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.worker.lease import LEASE
from search.worker.run_item import run_item
from search.worker.study_context import StudyContext
from search.workflow.control import pause, resume, retry, stop
from storage.queue.items import WorkItem
from storage.records.workers import Role
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.search.small_study import work_on


def take(context: StudyContext) -> WorkItem:
    item = context.stores.queue.take(context.study.id, context.worker, LEASE)
    assert item is not None
    return item


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_pause_and_resume(context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    take(context)
    pause(None, url)
    assert "colours is paused; 1 training(s) stop after the current epoch" in said(capsys)
    snapshot = read_snapshot(context.stores, "colours")
    assert snapshot.paused and not search_is_over(snapshot), "a waiting `start` keeps waiting"
    show_status(None, url, context.home.root)
    assert "`search resume --study colours`" in said(capsys)
    resume("colours", url)
    assert "No worker is running" in said(capsys)
    study = context.stores.studies.get("colours")
    assert (study.state, study.state_reason) == (StudyState.RUNNING, "")


@pytest.mark.parametrize("how", ["stopped", "late", "all trials"])
def test_nothing_is_left_to_pause_of_a_study_that_is_done(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    stores, study = context.stores, context.study
    if how == "stopped":
        stores.studies.set_state(study.id, StudyState.STOPPED, "stopped by hand")
    elif how == "late":
        stores.studies.set_deadline(study.id, stores.database.now() - 1.0)
    else:
        stores.studies.set_budget(study.id, 0)
    with Heartbeat(stores.workers, "s", device="", home="h", role=Role.SUPERVISOR, study_id=study.id):
        pause(None, url)
    assert stores.studies.state(study.id) is StudyState.PAUSED, "`search start` may queue confirmations"
    assert "is paused" in said(capsys)
    stores.studies.set_state(study.id, StudyState.STOPPED if how == "stopped" else StudyState.RUNNING)
    pause(None, url)
    assert stores.studies.state(study.id) is not StudyState.PAUSED
    remedy = {"stopped": "search resume", "late": "--hours +1", "all trials": "--trials 10"}[how]
    assert remedy in said(capsys)
    resume(None, url)
    assert (remedy in said(capsys)) == (how != "stopped")


def test_status_names_what_continues_a_study_without_a_finished_trial(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context.stores.studies.set_state(context.study.id, StudyState.STOPPED, "stopped by hand")
    show_status(None, url, context.home.root)
    out = said(capsys)
    assert "because no trial has finished: `search start --study colours` continues the search" in out
    assert "next stage" not in out


def test_stop_leaves_the_export_to_a_waiting_start(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not stop(None, url)
    assert search_is_over(read_snapshot(context.stores, "colours"))
    with Heartbeat(context.stores.workers, "s", device="", home="h", role=Role.SUPERVISOR, study_id=context.study.id):
        assert stop(None, url)
        assert "exports it" in said(capsys)
        present = processes_present(context.stores.workers, context.study.id)
        assert [process.role for process in present] == [Role.SUPERVISOR]


@pytest.mark.slow
def test_status_shows_the_activity_of_each_worker(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Heartbeat(context.stores.workers, context.worker, device="cpu", home="h", study_id=context.study.id):
        item = take(context)
        show_status(None, url, context.home.root)
        assert f"worker {context.worker} (cpu): asking for a trial" in said(capsys)
        epochs = 0

        def stop_requested() -> bool:
            nonlocal epochs
            epochs += 1
            show_status(None, url, context.home.root)
            return True

        run_item(context, item, stop_requested)
        assert epochs == 1
        assert f"worker {context.worker} (cpu): trial 0 epoch 2/3" in said(capsys)
        show_status(None, url, context.home.root)
        out = said(capsys)
        assert f"worker {context.worker} (cpu): idle" in out
        assert "1 trial waits for a worker" in out
        assert re.search(r"disk: study colours keeps [0-9.]+ MiB of checkpoints, besides", out)
        assert re.search(r"holds [0-9.]+ MiB for all studies \(decoded .*; [0-9.]+ GiB of the disk are free", out)


def test_an_expired_lease_returns_the_trial_to_the_queue(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    take(context)
    context.stores.recovery.expire_worker(context.worker)
    snapshot = read_snapshot(context.stores, "colours")
    assert (snapshot.running, snapshot.waiting) == (0, 1)
    show_status(None, url, context.home.root)
    assert "`search start --study colours`" in said(capsys)


@pytest.mark.slow
def test_failures_are_counted_listed_and_retried(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("no [such] colour")

    run_item(replace(context, train=broken), take(context), lambda: False)
    queue = context.stores.queue
    queue.add(context.study.id, WorkKind.REFIT, split=0, seed=4, recipe=context.spec.default_recipe())
    refit = queue.take(context.study.id, context.worker, LEASE, kinds=(WorkKind.REFIT,))
    assert refit is not None and queue.fail(refit, Failure.DISK, "no room")

    show_status(None, url, context.home.root)
    assert "2 failed (1 bug, 1 disk)" in said(capsys)
    show_failed(None, url)
    out = said(capsys)
    for part in (
        "trial 0 bug",
        "no [such] colour",
        "refit, seed 4 disk",
        "no room",
        "make room",
        "search retry --failed",
    ):
        assert part in out
    retry(None, url, None)
    assert "1 trial(s) and 1 refit(s) of study colours are tried again" in said(capsys)
    retry(None, url, None)
    assert "Nothing of study colours waits to be tried again" in said(capsys)
    work_on(context)
    assert len(context.stores.trials.records(context.study.id, status=TrialStatus.FINISHED)) == 4
    show_failed(None, url)
    assert "trial 0" in said(capsys), "the failure stays on record"


@pytest.mark.slow
def test_a_retry_beyond_the_budget_names_the_command_that_raises_it(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("x")

    run_item(replace(context, train=broken), take(context), lambda: False)
    work_on(context)
    retry(None, url, [0])
    assert "`search start --study colours --trials 4`" in said(capsys)


@pytest.mark.slow
def test_status_lists_the_latest_trials_of_a_long_study(
    context: StudyContext, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work_on(context)
    monkeypatch.setattr("search.report.status.SHOWN_TRIALS", 1)
    show_status(None, url, Path("retable"))
    out = said(capsys)
    assert "2 earlier trials" in out and "trial 2" in out and "trial 0 " not in out
    show_status(None, url, Path("retable"), everything=True)
    assert "trial 0 " in said(capsys)


def test_sizes_as_text() -> None:
    assert [human_size(size) for size in (0, 1 << 20, 3 << 29)] == ["0.0 MiB", "1.0 MiB", "1.5 GiB"]
