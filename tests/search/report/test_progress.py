"""What a person reads while the search runs."""

from __future__ import annotations

import io

from rich.console import Console

from search.report.progress import ProgressView, bar_line, clock_time
from search.study_state.snapshot import read_standing, search_is_over
from search.worker.study_context import Bench
from storage.stores import Ledger
from tests.search.colours import work_on


def test_a_study_from_beginning_to_end(bench: Bench, ledger: Ledger) -> None:
    standing = read_standing(ledger, "colours")
    assert (standing.counted, standing.seconds_left()) == (0, None)
    assert not search_is_over(standing)
    assert "0/3 trials" in bar_line(standing, "")

    work_on(bench)
    standing = read_standing(ledger, "colours")
    assert (standing.counted, standing.running, standing.seconds_left()) == (3, 0, 0.0)
    assert search_is_over(standing)
    best = standing.ranking[0]
    assert best.value == max(record.value or 0 for record in standing.records)
    assert f"best accuracy {best.value:.4f} ± {best.standard_error:.4f} (trial {best.number})" in bar_line(standing, "")

    output = io.StringIO()
    with ProgressView(Console(file=output, width=200), bench.spec.default_recipe()) as view:
        view.show(standing, "")
        view.show(standing, "")
    text = output.getvalue()
    assert text.count("trial   0") == 1, "a trial that has ended is printed once"
    assert "the default recipe" in text
    assert " label_smoothing=0." in text


def test_times_for_people() -> None:
    assert [clock_time(s) for s in (0, 59.6, 61, 3605, 360000)] == ["0:00", "1:00", "1:01", "1:00:05", "100:00:00"]
