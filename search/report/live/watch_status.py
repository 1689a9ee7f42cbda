"""``search status --watch``: shows the state of a study again and again."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from search.report.failed_trainings import print_failed
from search.report.status import print_status
from search.runtime.console import SafeConsole, encodable, redraws, say
from search.runtime.heartbeat import processes_present
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.stages import search_is_over
from storage.records.workers import Role
from storage.stores import Stores


def watch_status(
    console: Console,
    stores: Stores,
    name: str | None,
    home: Path,
    *,
    seconds: float,
    failed: bool = False,
    everything: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the state of a study every few seconds until the study has ended.

    A terminal shows it on its alternate screen, as much as fits, and at the end, or after Ctrl-C, keeps the last state
    in full. Other output gets each state that differs from the one before, behind the time of day.

    Args:
        name: of the study; None: the latest when the command begins.
        seconds: from one look to the next.
        failed: show the failed trainings instead.
        everything: as in `search.report.status.show_status`.
        sleep: waits for a number of seconds.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        KeyboardInterrupt: Ctrl-C.
    """
    name = stores.study(name).name

    def look() -> str:
        sheet = SafeConsole(
            file=io.StringIO(),
            width=console.width,
            highlight=False,
            force_terminal=console.is_terminal,
            color_system=console.color_system,  # type: ignore[arg-type]  # Rich types it as str here
        )
        if failed:
            print_failed(sheet, stores, name, everything=everything)
        else:
            print_status(sheet, stores, name, home, everything=everything)
        assert isinstance(sheet.file, io.StringIO)
        return sheet.file.getvalue()

    state = ""
    is_screen = redraws(console)
    live = Live(console=console, screen=True, auto_refresh=False) if is_screen else None
    screen: AbstractContextManager[object] = live or nullcontext()
    try:
        with screen:
            while True:
                before, state = state, look()
                if live is not None:
                    live.update(_fitting(console, state, name, seconds), refresh=True)
                elif state != before:
                    say(console, time.strftime("%H:%M:%S"))
                    console.file.write(state)
                    console.file.flush()
                if has_ended(stores, read_snapshot(stores, name)):
                    return
                sleep(seconds)
    finally:
        if is_screen:
            console.file.write(state)
            console.file.flush()


def has_ended(stores: Stores, snapshot: StudySnapshot) -> bool:
    """Whether all work of a study is done and no `search start` is about to add further work or to export."""
    supervised = any(p.role is Role.SUPERVISOR for p in processes_present(stores.workers, snapshot.study.id))
    is_open = snapshot.confirms_open or snapshot.refits_open
    return search_is_over(snapshot) and not is_open and not supervised


def _fitting(console: Console, state: str, name: str, seconds: float) -> Text:
    """The lines of a state that fit the terminal: the heading, a line about the watch, and the last ones."""
    heading, *lines = Text.from_ansi(state).split("\n")
    about = f"every {seconds:g} s; Ctrl-C ends it, `search status --study {name}` shows all"
    room = max(1, console.height - 2)
    left_out = len(lines) - room
    mark = encodable(console, f"… {left_out + 1} lines; {about}" if left_out > 0 else about)
    shown = [heading, Text(mark, style="dim"), *lines[max(0, left_out) :]]
    return Text("\n", no_wrap=True, overflow="crop").join(shown)
