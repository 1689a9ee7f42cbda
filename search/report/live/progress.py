"""Live progress of a study: a line for every ended trial, and below them a panel that is redrawn in place.

A log file or a pipe gets plain lines: those of ended trials, and now and then the status behind the time of day.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import TracebackType

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from search.report.live.activity import Activity
from search.report.live.panel import panel_lines
from search.report.live.status_line import status_line
from search.runtime.console import LOG_INTERVAL, SEPARATOR, encodable, loud, redraws, say, shortened
from search.study_state.snapshot import StudySnapshot
from storage.values import TrialRecord, TrialStatus
from trainer.inference.printable import excerpt
from trainer.recipe.recipe import FIELDS, Scalar

EPOCHS_INTERVAL = 60.0  # seconds between two status lines of a log that differ only in epochs and times
MOST_LINES = 3  # lines of a probe on a terminal
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
        activity: Callable[[StudySnapshot], Activity] = lambda snapshot: Activity(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            default: the recipe of trial 0; a trial's line shows the settings that differ from it.
            shown: number of ended trials that were printed before.
            origins: returns the origin of each trial that the sampler did not propose, by number (see
                `search.tuning.warm_starts`).
            activity: reads what the workers do; called for a terminal alone.
            monotonic: monotonic time in seconds, for the pauses between the status lines of a log.
        """
        self._console = console
        self._default = default
        self._shown = shown
        self._origins = origins
        self._live = Live(console=console, auto_refresh=False, transient=True) if redraws(console) else None
        self._activity = activity
        self._panel: tuple[list[str], ConsoleDimensions] | None = None  # as drawn last, and the terminal's size then
        self._log = _StatusLog(console, monotonic)

    def __enter__(self) -> ProgressView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._forget_wrapped_lines()
            self._live.stop()
            self._panel = None

    def show(self, snapshot: StudySnapshot, now: str, trouble: str = "") -> None:
        """Print the trials that ended since the last call, and redraw the panel or add a status line to the log.

        Args:
            now: what runs at the moment, as text.
            trouble: what keeps it from running, as text.
        """
        self.show_ended(snapshot)
        if self._live is None:
            self._log.update(snapshot, SEPARATOR.join(filter(None, (now, trouble))))
            return
        panel = panel_lines(self._console, snapshot, self._activity(snapshot), now, trouble), self._console.size
        if panel == self._panel:
            return  # an unchanged panel that is drawn again flickers
        self._forget_wrapped_lines()
        self._panel = panel
        self._live.update(Text("\n".join(panel[0]), no_wrap=True, overflow="crop"), refresh=True)

    def show_ended(self, snapshot: StudySnapshot) -> None:
        """Print the trials that ended since the last call; possible without a panel, too."""
        new = snapshot.records[self._shown :]
        origins = self._origins() if new else {}
        if new:
            self._forget_wrapped_lines()
        for record in new:
            print_trial(self._console, record, self._default, origins.get(record.number or 0, ""))
        self._shown = len(snapshot.records)

    def _forget_wrapped_lines(self) -> None:
        """Erase the rows by which a terminal that became narrower has made the panel taller. Rich erases the others."""
        if self._panel is None or self._live is None:
            return
        lines, before = self._panel
        width = self._console.width
        extra = sum(max(1, math.ceil(cell_len(line) / width)) for line in lines) - len(lines)
        if width < before.width and extra:
            rows = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * extra
            self._panel = lines, self._console.size
            self._console.file.write(str(Control(ControlType.CARRIAGE_RETURN, *rows)))


class _StatusLog:
    """Adds status lines to a log, the first after `LOG_INTERVAL`.

    After a change of the stage or of a count, the next line follows once `LOG_INTERVAL` has passed since the last one;
    while only epochs and times change, after `EPOCHS_INTERVAL`; without any change, never.
    """

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console, self._monotonic = console, monotonic
        self._time = monotonic()
        self._line = ""
        self._counts: tuple[int, ...] = ()

    def update(self, snapshot: StudySnapshot, now: str) -> None:
        """Print the status if a line is due."""
        line, counts = status_line(snapshot, now, bar=False), _counts(snapshot)
        pause = LOG_INTERVAL if counts != self._counts else EPOCHS_INTERVAL
        if line == self._line or self._monotonic() - self._time < pause:
            return
        say(self._console, f"{time.strftime('%H:%M:%S')}  {line}", whole=True)
        self._time, self._line, self._counts = self._monotonic(), line, counts


def _counts(snapshot: StudySnapshot) -> tuple[int, ...]:
    """What tells the stages of a study apart, and counts their progress."""
    return (
        *(snapshot.paused, snapshot.workers, len(snapshot.records), snapshot.trials_paused),
        *(snapshot.confirms_done, snapshot.confirms_open > 0, snapshot.refits_done, snapshot.refits_open > 0),
    )


def print_trial(
    console: Console,
    record: TrialRecord,
    default: Mapping[str, Scalar],
    origin: str = "",
    *,
    complete: bool = False,
) -> None:
    """Print one ended trial on one line: in a file with all settings, on a terminal with as many as fit.

    A quiet console prints trials that failed, and no others.

    Args:
        default: the recipe of trial 0.
        origin: where the recipe comes from, if the sampler did not propose it.
        complete: print all settings; those that do not fit continue on lines of their own, within the console's width.
    """
    with loud(console) if record.status is TrialStatus.FAILED else nullcontext():
        _print_trial(console, record, default, origin, complete=complete)


def _print_trial(
    console: Console, record: TrialRecord, default: Mapping[str, Scalar], origin: str, *, complete: bool
) -> None:
    """As `print_trial`, on a console that is not quiet."""
    head, settings = _trial_head(record), _trial_settings(record, default, origin)
    if record.is_probe and console.is_terminal:
        # What is known of a backbone is not cut off, but a long reason is.
        space = MOST_LINES * max(1, console.width - head.cell_len)
        say(console, Text(shortened(settings, space), style="dim"), prefix=head)
        return
    if complete and head.cell_len + cell_len(settings) > console.width:
        say(console, Text(head.plain.rstrip(), spans=head.spans))
        say(console, Text(settings, style="dim"), prefix=" " * SETTINGS_INDENT)
        return
    if console.is_terminal:
        # An encoding may lack `±` and `…`: what stands for them is longer.
        taken = cell_len(encodable(console, head.plain)) + cell_len(encodable(console, "…")) - 1
        settings = shortened(settings, console.width - taken)
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
    if record.is_probe:
        shown = (f"{score or record.status:18}", STYLES[record.status])
        return Text.assemble(f"probe {number}  ", shown, f" {record.seconds:6.1f} s  ")
    status = (f"{record.status:8}", STYLES[record.status])
    return Text.assemble(f"trial {number}  ", status, f"  {score:18} {record.seconds:6.1f} s  ")


def _trial_settings(record: TrialRecord, default: Mapping[str, Scalar], origin: str) -> str:
    """The reason of a failure; else the origin, if there is one, and the settings that differ from trial 0."""
    if record.status in (TrialStatus.DIVERGED, TrialStatus.FAILED) and record.reason:
        return f"{(record.recipe or {}).get('backbone')}: " * record.is_probe + excerpt(record.reason)
    limited = f"{excerpt(record.reason)}; " * (record.status is TrialStatus.FINISHED and bool(record.reason))
    if record.is_probe:
        # The size is that of the record: the deadline may have made the images smaller than planned in the origin.
        recipe, details = record.recipe or {}, origin.partition(", ")[2]
        return f"{limited}{recipe.get('backbone')} at {recipe.get('image_size')} px" + f", {details}" * bool(details)
    proposer = origin.partition(":")[0] if record.number else ""
    return f"{proposer}: " * bool(proposer) + limited + recipe_difference(record, default)


def recipe_difference(record: TrialRecord, default: Mapping[str, Scalar]) -> str:
    """The settings of a trial that differ from trial 0, in the order of the recipe's fields."""
    recipe = record.recipe or {}
    if record.number == 0:  # its own backbone may have no usable weights
        own = ("backbone", "epochs", "image_size", "freeze")  # a deadline may have shortened it
        changed = [name for name in own if recipe.get(name) not in (None, default.get(name))]
        parts = [str(recipe[name]) if name == "backbone" else f"{name}={short(recipe[name])}" for name in changed]
        return "the default recipe" + f" with {' '.join(parts)}" * bool(parts)
    if record.is_probe:
        start = "" if recipe.get("init") in (None, "pretrained") else f" from {recipe['init']}"
        return f"linear probe of {recipe['backbone']}{start} at {recipe['image_size']} px"
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
