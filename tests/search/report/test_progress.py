"""What a person reads while the search runs."""

from __future__ import annotations

import io

from rich.console import Console

from search.report.progress import ProgressView, bar_line, clock_time
from search.study_state.snapshot import read_snapshot
from search.study_state.stages import search_is_over
from search.worker.study_context import StudyContext
from storage.stores import Stores
from tests.search.colours import work_on


def test_a_study_from_beginning_to_end(context: StudyContext, stores: Stores) -> None:
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.seconds_left()) == (0, None)
    assert not search_is_over(snapshot)
    assert "0/3 trials" in bar_line(snapshot, "")

    work_on(context)
    snapshot = read_snapshot(stores, "colours")
    assert (snapshot.counted, snapshot.running, snapshot.seconds_left()) == (3, 0, 0.0)
    assert search_is_over(snapshot)
    best = snapshot.ranking[0]
    assert best.value == max(record.value or 0 for record in snapshot.records)
    assert f"best accuracy {best.value:.4f} ± {best.standard_error:.4f} (trial {best.number})" in bar_line(snapshot, "")

    output = io.StringIO()
    with ProgressView(Console(file=output, width=200), context.spec.default_recipe()) as view:
        view.show(snapshot, "")
        view.show(snapshot, "")
    text = output.getvalue()
    assert text.count("trial   0") == 1, "a trial that has ended is printed once"
    assert "the default recipe" in text
    assert " label_smoothing=0." in text


def test_times_for_people() -> None:
    assert [clock_time(s) for s in (0, 59.6, 61, 3605, 360000)] == ["0:00", "1:00", "1:01", "1:00:05", "100:00:00"]
