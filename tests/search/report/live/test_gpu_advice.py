"""Where people read whether another worker per GPU would pay: the worker's log, the progress and the status."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.report.live.schedule import SharingView
from search.report.status import show_status
from search.runtime.console import open_console
from search.study_state.snapshot import read_snapshot
from search.worker.study_context import StudyContext
from search.worker.task import Paused, Task
from storage.values import TrialOutcome
from tests.search.instant_training import pretending
from tests.search.small_study import work_on
from tests.search.study_state.test_gpu_sharing import MACHINE

ADVICE = "`search start --study colours --workers-per-gpu 3`"


def measured(context: StudyContext, *trials: int) -> StudyContext:
    """Trainings without work, of which those of some trials were measured on a GPU."""
    instant = pretending(context, lambda task: 0.5)

    def train(context: StudyContext, task: Task) -> TrialOutcome | Paused | None:
        outcome = instant.train(context, task)
        assert isinstance(outcome, TrialOutcome)
        machine: dict[str, Any] = MACHINE if task.item.trial_number in trials else {"device": "NVIDIA H100"}
        return replace(outcome, machine=machine)

    return replace(instant, train=train)


@pytest.mark.parametrize(("trials", "expected"), [((), 0), ((0,), 1), ((1, 2), 1), ((0, 1, 2), 1)])
def test_the_worker_logs_it_once(
    context: StudyContext, caplog: pytest.LogCaptureFixture, trials: tuple[int, ...], expected: int
) -> None:
    caplog.set_level(logging.INFO)
    work_on(measured(context, *trials))
    assert sum(ADVICE in message for message in caplog.messages) == expected


def test_the_progress_prints_it_once(context: StudyContext, capsys: pytest.CaptureFixture[str]) -> None:
    view = SharingView(open_console())
    view.update(read_snapshot(context.stores, context.study.name))
    assert capsys.readouterr().out == ""
    work_on(measured(context, 0))
    for _ in range(2):
        view.update(read_snapshot(context.stores, context.study.name))
    assert " ".join(capsys.readouterr().out.split()).count(ADVICE) == 1


def test_the_status_shows_it_until_the_search_is_over(
    context: StudyContext, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context.stores.studies.set_budget(context.study.id, 1)
    work_on(measured(context, 0))
    context.stores.studies.set_budget(context.study.id, 2)
    show_status(context.study.name, url, tmp_path / "home")
    assert ADVICE in " ".join(capsys.readouterr().out.split())
    work_on(measured(context, 0))
    show_status(context.study.name, url, tmp_path / "home")
    assert ADVICE not in " ".join(capsys.readouterr().out.split())
