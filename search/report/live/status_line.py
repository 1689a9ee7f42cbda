"""One line about a study: trials done, time left, the best so far."""

from __future__ import annotations

from search.runtime.console import SEPARATOR
from search.statistics.ranking import highest_of
from search.study_state.snapshot import StudySnapshot
from storage.values import TrialStatus

BAR_WIDTH = 24  # characters


def status_line(snapshot: StudySnapshot, now: str, *, bar: bool = True) -> str:
    """Trials and probes done, time left, pruned and failed trials, the best so far, and ``now``, joined by `SEPARATOR`.

    Args:
        bar: as in `counts_and_times`.
    """
    parts = (*counts_and_times(snapshot, bar=bar), best_fact(snapshot), now)
    return SEPARATOR.join(part for part in parts if part)


def counts_and_times(snapshot: StudySnapshot, *, bar: bool = True, to_end: float | None = None) -> list[str]:
    """Trials and probes done, time left, pruned and failed trials, a text each.

    Args:
        bar: begin with a bar that shows the share of the budget, or of the probes if the budget is 0.
        to_end: seconds until the end of the export, named in place of those until the end of the search; None: unknown.
    """
    budget, ended, planned = snapshot.study.budget, snapshot.probes_ended, snapshot.probes_planned
    if budget is None:
        parts = [f"{snapshot.counted} trial{'s' * (snapshot.counted != 1)}"]
    else:
        done, total, what = (snapshot.counted, budget, "trials") if budget else (ended, planned, "probes")
        parts = [f"{_bar(done, total)} " * bar + f"{done}/{total} {what}"]
    if ended and budget != 0:
        parts.append(f"{ended}/{planned} probes" if ended < planned else f"{ended} probe{'s' * (ended != 1)}")
    left = snapshot.seconds_left()
    if to_end is not None:
        parts.append(f"export in about {duration(to_end)}")
    elif left is not None and snapshot.counted < (budget or 0):
        parts.append(f"about {duration(left)} left")
    pruned = snapshot.count(TrialStatus.PRUNED)
    failed = snapshot.count(TrialStatus.FAILED)
    paused = snapshot.trials_paused
    parts += [f"{paused} paused"] * bool(paused)
    parts += [f"{pruned} pruned"] * bool(pruned) + [f"{failed} failed"] * bool(failed)
    return parts


def best_fact(snapshot: StudySnapshot) -> str:
    """Name and score of the best trial so far; empty before one has finished.

    The ranking weighs the Brier score as well. Where another trial has a higher score, this one leads, and
    the other is named too.
    """
    ranking = snapshot.ranking
    if not ranking:
        return ""
    best, highest = ranking[0], highest_of(ranking)
    score = f"{snapshot.name_of(best.number)}, {snapshot.metric} {best.value:.4f} ± {best.standard_error:.4f}"
    if highest is best:
        return f"best: {score}"
    other = f"highest {snapshot.metric}: {snapshot.name_of(highest.number)}, {highest.value:.4f}"
    return f"leads: {score}{SEPARATOR}{other}"


def _bar(done: int, total: int) -> str:
    """``[######..]``."""
    filled = min(BAR_WIDTH, round(BAR_WIDTH * done / total)) if total else 0
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]"


def duration(seconds: float) -> str:
    """``14 s``, ``1 min 05 s`` or ``2 h 01 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
