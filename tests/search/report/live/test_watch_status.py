"""`search status --watch`, with a clock of the test."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from search.report.live.watch_status import has_ended, watch_status
from search.runtime.disk import GIB
from search.runtime.heartbeat import Heartbeat
from search.study_state.snapshot import read_snapshot
from search.study_state.study import Study
from storage.records.workers import Role
from storage.stores import Stores
from storage.values import StudyState, TrialStatus, WorkKind
from tests.search.end_trials import end_next


@pytest.fixture(autouse=True)
def free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """The free space of the disk is part of the state, and other programs change it at any time."""
    monkeypatch.setattr("search.runtime.disk._free", lambda home: 10 * GIB)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def watched(
    stores: Stores, home: Path, sleep: Callable[[float], None], console: Console | None = None, **options: bool
) -> str:
    console = console or Console(file=io.StringIO(), width=80, highlight=False)
    watch_status(console, stores, "colours", home, seconds=3.0, sleep=sleep, **options)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_shows_each_change_until_the_study_has_ended(stores: Stores, stored: Study, tmp_path: Path) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) % 2:
            end_next(stores, stored, 0.1 * len(waits), TrialStatus.PRUNED)

    text = watched(stores, tmp_path, sleep)
    assert waits == [3.0] * 5
    assert len(re.findall(r"^\d\d:\d\d:\d\d$", text, re.M)) == 4, "a look without a change prints nothing"
    assert text.count("3/3 trials") == 1 and text.index("1/3 trials") < text.index("3/3 trials")
    assert "\x1b" not in text


def test_a_study_that_has_ended_is_shown_once(stores: Stores, stored: Study, tmp_path: Path) -> None:
    stores.studies.set_state(stored.id, StudyState.STOPPED, "enough")

    def sleep(seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    assert watched(stores, tmp_path, sleep).count("Study colours, stopped") == 1
    assert "No training of study colours failed." in watched(stores, tmp_path, sleep, failed=True)


def test_a_study_ends_after_its_last_stage(stores: Stores, stored: Study) -> None:
    def ended() -> bool:
        return has_ended(stores, read_snapshot(stores, "colours"))

    assert not ended()
    for _ in range(3):
        end_next(stores, stored, 0.5)
    assert ended()
    with Heartbeat(stores.workers, "s", device="", home=None, role=Role.SUPERVISOR, study_id=stored.id):
        assert not ended(), "`search start` still confirms and exports"
    with Heartbeat(stores.workers, "w", device="cpu", home="h"):
        assert ended(), "a free worker waits for other studies"
    for kind in (WorkKind.CONFIRM, WorkKind.REFIT):
        item = stores.queue.add(stored.id, kind, split=1, seed=0, recipe=stored.spec.default_recipe())
        assert not ended()
        stores.queue.withdraw(item)
    assert ended()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_shows_what_fits_and_keeps_the_last_state(
    stores: Stores, stored: Study, tmp_path: Path, width: int
) -> None:
    stores.studies.set_budget(stored.id, 30)
    for i in range(25):
        end_next(stores, stored, 0.01 * i, TrialStatus.PRUNED)
    console = Console(file=io.StringIO(), width=width, height=20, force_terminal=True, highlight=False)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(stores, tmp_path, interrupt, console)
    assert isinstance(console.file, io.StringIO)
    screen, _, after = console.file.getvalue().partition("\x1b[?1049l")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).splitlines()
    assert len(shown) == 20 and all(cell_len(line.rstrip()) <= width for line in shown)
    assert shown[0].startswith("Study colours") and "Ctrl-C ends it" in shown[1]
    assert "No worker runs" in " ".join(shown[-3:]) and "trial   0" not in "".join(shown)
    assert after.count("pruned") >= 25 and "No worker runs" in after, "the whole state stays on the terminal"


def test_other_studies_do_not_take_its_place(stores: Stores, stored: Study, tmp_path: Path) -> None:
    stores.studies.set_state(stored.id, StudyState.STOPPED, "")
    console = Console(file=io.StringIO(), width=80)
    watch_status(console, stores, None, tmp_path, seconds=1.0, sleep=lambda _: None)
    assert isinstance(console.file, io.StringIO) and "Study colours" in console.file.getvalue()
