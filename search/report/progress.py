"""Live progress of a study: a line for every ended trial, and below them a status line that is redrawn in place.

A log file or a pipe gets only the lines of ended trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.runtime.console import SEPARATOR, facts_in, say, shortened
from search.study_setup.deadline import clock
from search.study_state.snapshot import StudySnapshot
from search.study_state.time_budget import outline
from search.study_state.time_left import read_costs
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus
from trainer.inference.printable import excerpt
from trainer.recipe.recipe import FIELDS, Scalar

BAR_WIDTH = 24  # characters
SETTINGS_INDENT = 11  # cells before settings on a line of their own

STYLES: dict[TrialStatus, str] = {
    TrialStatus.FINISHED: "green",
    TrialStatus.PRUNED: "yellow",
    TrialStatus.DIVERGED: "magenta",
    TrialStatus.FAILED: "red",
}


class ProgressView:
    """Shows one `StudySnapshot` after another. A context manager, which restores the terminal at the end."""

    def __init__(
        self,
        console: Console,
        default: Mapping[str, Scalar],
        *,
        shown: int = 0,
        origins: Callable[[], Mapping[int, str]] = dict,
    ) -> None:
        """
        Args:
            default: the recipe of trial 0; a trial's line shows the settings that differ from it.
            shown: number of ended trials that were printed before.
            origins: returns the origin of each trial that the sampler did not propose, by number (see
                `search.tuning.warm_starts`).
        """
        self._console = console
        self._default = default
        self._shown = shown
        self._origins = origins
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> ProgressView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: StudySnapshot, now: str) -> None:
        """Print the trials that ended since the last call, and redraw the status line.

        Args:
            now: what runs at the moment, as text.
        """
        new = snapshot.records[self._shown :]
        origins = self._origins() if new else {}
        for record in new:
            print_trial(self._console, record, self._default, origins.get(record.number or 0, ""))
        self._shown = len(snapshot.records)
        lines = facts_in(status_line(snapshot, now), self._console.width)
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)


def print_trial(
    console: Console,
    record: TrialRecord,
    default: Mapping[str, Scalar],
    origin: str = "",
    *,
    complete: bool = False,
) -> None:
    """Print one ended trial on one line: in a file with all settings, on a terminal with as many as fit.

    Args:
        default: the recipe of trial 0.
        origin: where the recipe comes from, if the sampler did not propose it.
        complete: print all settings; those that do not fit continue on lines of their own, within the console's width.
    """
    head, settings = _trial_head(record), _trial_settings(record, default, origin)
    if complete and head.cell_len + cell_len(settings) > console.width:
        say(console, Text(head.plain.rstrip(), spans=head.spans))
        say(console, Text(settings, style="dim"), prefix=" " * SETTINGS_INDENT)
        return
    if console.is_terminal:
        settings = shortened(settings, console.width - head.cell_len)
    say(console, head + Text(settings, style="dim"), whole=True)


def _trial_head(record: TrialRecord) -> Text:
    """Number, status, score and duration."""
    number = "  ?" if record.number is None else f"{record.number:3d}"
    if record.status is TrialStatus.FINISHED:
        score = f"{record.value:.4f} ± {record.value_se or 0.0:.4f}"
    elif record.status is TrialStatus.PRUNED:
        score = f"after {record.epochs_done} epoch{'s' * (record.epochs_done != 1)}"
    else:
        score = ""
    status = (f"{record.status:8}", STYLES[record.status])
    return Text.assemble(f"trial {number}  ", status, f"  {score:18} {record.seconds:6.1f} s  ")


def _trial_settings(record: TrialRecord, default: Mapping[str, Scalar], origin: str) -> str:
    """The reason of a failure; else the origin, if there is one, and the settings that differ from trial 0."""
    if record.status in (TrialStatus.DIVERGED, TrialStatus.FAILED) and record.reason:
        return excerpt(record.reason)
    proposer = origin.partition(":")[0] if record.number and not record.is_probe else ""
    limited = f"{excerpt(record.reason)}; " * (record.status is TrialStatus.FINISHED and bool(record.reason))
    return f"{proposer}: " * bool(proposer) + limited + recipe_difference(record, default)


def recipe_difference(record: TrialRecord, default: Mapping[str, Scalar]) -> str:
    """The settings of a trial that differ from trial 0, in the order of the recipe's fields."""
    if record.number == 0:
        return "the default recipe"
    recipe = record.recipe or {}
    if record.is_probe:
        return f"linear probe of {recipe['backbone']} at {recipe['image_size']} px"
    return difference(recipe, default)


def difference(recipe: Mapping[str, Scalar], default: Mapping[str, Scalar]) -> str:
    """The settings of a flat recipe that differ from ``default``, in the order of the recipe's fields."""
    changed = [name for name in FIELDS if name in recipe and recipe[name] != default.get(name)]
    # The last part of a name suffices unless two settings share it.
    brief = {name: name.removesuffix(".name").rpartition(".")[2] for name in changed}
    names = {name: name if list(brief.values()).count(brief[name]) > 1 else brief[name] for name in changed}
    return " ".join(f"{names[name]}={short(recipe[name])}" for name in changed)


def short(value: Scalar) -> str:
    """A setting with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def status_line(snapshot: StudySnapshot, now: str) -> str:
    """Trials done, time left, pruned and failed trials, the best so far, and ``now``, joined by `SEPARATOR`."""
    budget = snapshot.study.budget
    if budget:
        filled = min(BAR_WIDTH, round(BAR_WIDTH * snapshot.counted / budget))
        head = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {snapshot.counted}/{budget} trials"
    else:
        head = f"{snapshot.counted} trial{'s' * (snapshot.counted != 1)}"
    parts = [head]
    probes = sum(record.is_probe and record.status is TrialStatus.FINISHED for record in snapshot.records)
    parts += [f"{probes} probe{'s' * (probes != 1)}"] * bool(probes)
    left = snapshot.seconds_left()
    if left is not None and snapshot.counted < (budget or 0):
        parts.append(f"about {clock_time(left)} left")
    pruned = snapshot.count(TrialStatus.PRUNED)
    failed = snapshot.count(TrialStatus.FAILED)
    parts += [f"{pruned} pruned"] * bool(pruned) + [f"{failed} failed"] * bool(failed)
    if snapshot.ranking:
        best = snapshot.ranking[0]
        parts.append(f"best {snapshot.metric} {best.value:.4f} ± {best.standard_error:.4f} (trial {best.number})")
    if now:
        parts.append(now)
    return SEPARATOR.join(parts)


def clock_time(seconds: float) -> str:
    """``1:05`` or ``2:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ScheduleView:
    """Prints the plan of a study with a deadline: once it is known, and again after a change of the deadline."""

    def __init__(self, stores: Stores, console: Console) -> None:
        self._stores, self._console = stores, console
        self._printed: float | None = None  # the deadline of the plan that was printed last

    def update(self, snapshot: StudySnapshot) -> None:
        """Print the plan of the snapshot's study, unless it is printed already or not known yet."""
        deadline = snapshot.study.deadline
        if deadline is None or deadline == self._printed:
            return
        line = schedule_line(self._stores, snapshot)
        if line:
            say(self._console, line)
            self._printed = deadline


def schedule_line(stores: Stores, snapshot: StudySnapshot) -> str:
    """The plan of a study until its deadline; empty without a deadline, after it, and before a trial has ended."""
    study = snapshot.study
    if study.deadline is None:
        return ""
    costs = read_costs(stores, study, snapshot.ended)
    now = stores.database.now()
    plan = outline(costs, now=now, deadline=study.deadline) if now < study.deadline else None
    if plan is None:
        return ""
    number = plan.trials if study.budget is None else min(plan.trials, study.budget - snapshot.counted)
    parts = [f"about {number} more trial{'s' * (number != 1)} until {clock(plan.confirmation)}"] * (number > 0)
    if plan.confirmation < plan.refits:
        parts.append(f"confirmation until {clock(plan.refits)}")
    if plan.number_of_refits:
        count = plan.number_of_refits
        parts.append(f"{count} refit{'s' * (count != 1)} until {clock(plan.export)}")
    return f"Plan: {', then '.join(parts) or 'no more trials'}; export by {clock(study.deadline)}."
