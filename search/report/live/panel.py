"""The lines that `search start` redraws on a terminal: progress, the best so far, workers, curves."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console

from search.report.live.activity import Activity, WorkerActivity
from search.report.live.sparkline import ASCII, BLOCKS, best_so_far, bounds_of, sparkline
from search.report.live.status_line import best_fact, counts_and_times, duration
from search.runtime.console import GAP, SEPARATOR, clipped, encodable, facts_in
from search.runtime.process_names import short_name
from search.study_state.snapshot import StudySnapshot
from storage.values import TrialStatus

MOST_CELLS = 24  # of a sparkline
MOST_WORKERS = 8  # lines
OTHER_LINES = 8  # lines of a terminal that workers leave free
SHORT_NAME = 14  # cells of a worker's name where the whole one does not fit: its end


def panel_lines(console: Console, snapshot: StudySnapshot, activity: Activity, now: str, trouble: str) -> list[str]:
    """The lines, none of them wider than the console, without characters that its encoding lacks.

    Args:
        now: what runs at the moment; left out where each worker has a line with its trial.
        trouble: what keeps it from running.
    """
    width, levels = console.width, _levels(console)
    # Lines of trials alone say what runs; of a confirmation or a refit, they lack the number of those left.
    in_search = any(worker.trial is not None for worker in activity.workers) and not snapshot.paused
    runs = "" if in_search and not snapshot.confirms_open and not snapshot.refits_open else now
    facts = counts_and_times(snapshot, to_end=activity.seconds_to_end)
    shown = [encodable(console, fact) for fact in (*facts, runs, trouble) if fact]
    lines = [encodable(console, line) for line in facts_in(SEPARATOR.join(shown), width)]
    best = best_fact(snapshot)
    if best:
        finished = [record.value or 0.0 for record in snapshot.records if record.status is TrialStatus.FINISHED]
        shown = [encodable(console, fact) for fact in best.split(SEPARATOR)]
        first, *others = [encodable(console, line) for line in facts_in(SEPARATOR.join(shown), width)]
        lines += [_beside(first, _alone(best_so_far(finished), levels), width), *others]
    lines += _worker_lines(console, snapshot, activity, levels)
    return [clipped(console, line, width) for line in lines]


def _levels(console: Console) -> str:
    """The characters of sparklines. The fonts of the Linux console lack most blocks."""
    is_plain = encodable(console, BLOCKS) != BLOCKS or os.environ.get("TERM") == "linux"
    return ASCII if is_plain else BLOCKS


def _alone(values: Sequence[float], levels: str) -> str:
    return sparkline(values, MOST_CELLS, bounds_of(values), levels) if len(values) > 1 else ""


def _beside(text: str, spark: str, width: int) -> str:
    """A text with its sparkline, which is left out where there is no room."""
    line = f"{text}{' ' * GAP}{spark}"
    return line if spark and cell_len(line) <= width else text


def _worker_lines(console: Console, snapshot: StudySnapshot, activity: Activity, levels: str) -> list[str]:
    """A line for each worker, with its speed or, of work without epochs, the time that it has taken. One for the
    leader's curve is below those of trials.
    """
    room = max(1, min(MOST_WORKERS, console.height - OTHER_LINES))
    busy_first = sorted(activity.workers, key=lambda worker: worker.kind is None)
    shown, hidden = busy_first[:room], busy_first[room:]
    if not shown:
        return []
    curves = [worker.scores for worker in shown]
    bounds = bounds_of(activity.leader_scores, *curves)
    lasts = [max(len(worker.scores), worker.epochs or 0) for worker in shown]
    epochs = max(len(activity.leader_scores), *lasts)

    def drawn(scores: Sequence[float]) -> str:
        """A curve on the scale of all: as long as its share of the most epochs."""
        cells = -(-MOST_CELLS * len(scores) // epochs) if epochs > MOST_CELLS else len(scores)
        return sparkline(scores, cells, bounds, levels) if scores else ""

    rows = [(short_name(w.name), w.device, w.doing, _speed(w), drawn(w.scores)) for w in shown]
    if any(curves) and len(activity.leader_scores) > 1:
        leader = snapshot.name_of(snapshot.ranking[0].number)
        rows.append(("", "", f"leader: {leader}", "", drawn(activity.leader_scores)))
    lines = _aligned([tuple(encodable(console, cell) for cell in row) for row in rows], console)
    if hidden:
        lines.append(f"and {len(hidden)} more worker{'s' * (len(hidden) > 1)}")
    return lines


def _speed(worker: WorkerActivity) -> str:
    """The speed of a training; the time so far of other work, whose line would stand still for minutes."""
    if worker.seconds is not None:
        return duration(worker.seconds)
    speed = worker.images_per_second
    return "" if speed is None else f"{speed:.0f} images/s" if speed >= 10 else f"{speed:.2g} images/s"


def _aligned(rows: Sequence[tuple[str, ...]], console: Console) -> list[str]:
    """Rows of name, device, activity, speed and curve, in columns that fit the console.

    Where the width does not suffice, names are shortened and devices, curves and speeds are left out, in this order.
    """
    steps = ((False, ()), (True, ()), (True, (1,)), (True, (1, 4)), (True, (1, 3, 4)))
    lines: list[str] = []
    for short, left_out in steps:
        cut = [(clipped(console, row[0], SHORT_NAME, end=True) if short else row[0], *row[1:]) for row in rows]
        kept = [[cell for i, cell in enumerate(row) if i not in left_out] for row in cut]
        widths = [max(map(cell_len, column)) for column in zip(*kept, strict=True)]
        lines = [
            (" " * GAP).join(c + " " * (w - cell_len(c)) for c, w in zip(row, widths, strict=True) if w).rstrip()
            for row in kept
        ]
        if max(map(cell_len, lines)) <= console.width:
            break
    return lines
