"""The progress of a running search: lines of ended trials and the status line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from search.report.progress import ProgressView, clock_time, status_line
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import running_work, search_is_over
from search.worker.study_context import StudyContext
from storage.stores import Stores
from tests.search.small_study import work_on


@pytest.mark.slow
def test_a_study_from_beginning_to_end(context: StudyContext, stores: Stores) -> None:
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.seconds_left()) == (0, None)
    assert not search_is_over(snapshot)
    assert "0/3 trials" in status_line(snapshot, "")

    work_on(context)
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.running, snapshot.seconds_left()) == (3, 0, 0.0)
    assert search_is_over(snapshot)
    best = snapshot.ranking[0]
    assert best.value == max(record.value or 0 for record in snapshot.records)
    assert f"best accuracy {best.value:.4f} ± {best.standard_error:.4f} (trial {best.number})" in status_line(
        snapshot, ""
    )

    output = io.StringIO()
    with ProgressView(Console(file=output, width=200), context.spec.default_recipe()) as view:
        view.show(snapshot, "")
        view.show(snapshot, "")
    text = output.getvalue()
    assert text.count("trial   0") == 1, "a trial that has ended is printed once"
    assert "the default recipe" in text
    assert " label_smoothing=0." in text


def test_the_epoch_under_way_is_never_beyond_the_last(context: StudyContext, stores: Stores) -> None:
    assert stores.queue.take(context.study.id, "w", 60.0) is not None
    trial = context.optuna_study.ask()
    epochs = trial.user_attrs[EPOCHS_ATTRIBUTE]
    shown = [running_work(stores, read_snapshot(stores, "colours"))]
    for epoch in range(1, epochs + 1):
        trial.report(0.5, epoch)
        shown.append(running_work(stores, read_snapshot(stores, "colours")))
    assert shown == [f"trial 0 epoch {min(epoch, epochs)}/{epochs}" for epoch in range(1, epochs + 2)]


def test_durations_as_text() -> None:
    assert [clock_time(s) for s in (0, 59.6, 61, 3605, 360000)] == ["0:00", "1:00", "1:01", "1:00:05", "100:00:00"]
