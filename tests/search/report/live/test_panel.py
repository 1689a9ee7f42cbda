"""The panel of `search start` on terminals of several widths and encodings."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from search.report.live.activity import Activity, WorkerActivity
from search.report.live.panel import panel_lines
from search.report.live.progress import ProgressView, print_trial
from search.report.live.sparkline import ASCII, BLOCKS
from search.runtime.console import encodable, open_console
from search.study_setup.create_study import create_study
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.study import Study
from storage.stores import open_stores
from storage.values import Failure, StudyState, TrialStatus, WorkKind
from tests.search.end_trials import end_next
from tests.search.report.live.screen import Screen
from tests.search.small_study import STUDY, study_plan

WIDTHS = (60, 80, 120, 200)
LEADER = (0.2, 0.4, 0.6, 0.7, 0.8)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def snapshot(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, competition_folder: Path
) -> StudySnapshot:
    """Two finished trials and a pruned one of 40."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "colours.toml").write_text(STUDY)
    shutil.copy(sqlite_template, folder / "retable.db")
    stores = open_stores(f"sqlite:///{folder / 'retable.db'}")
    stored = create_study(stores, study_plan(folder / "colours.toml", competition_folder))
    stores.studies.set_budget(stored.id, 40)
    for value, status in ((0.5, TrialStatus.FINISHED), (0.4, TrialStatus.PRUNED), (0.75, TrialStatus.FINISHED)):
        end_next(stores, stored, value, status)
    read = replace(read_snapshot(stores, stored.name), workers=2)
    stores.database.close()
    return read


def worker(name: str, trial: int, epochs_done: int) -> WorkerActivity:
    return WorkerActivity(
        name=name,
        host="h",
        device="cuda:0 (NVIDIA H100 80GB HBM3)",
        seen=0.0,
        doing=f"trial {trial} epoch {epochs_done + 1}/10",
        kind=WorkKind.SEARCH,
        trial=trial,
        epochs=10,
        scores=tuple(0.1 * (1 + i) for i in range(epochs_done)),
        images_per_second=1234.5,
    )


def busy(count: int = 2, name: str = "gpu-box-%d-0123456789abcdef0123") -> Activity:
    return Activity(
        workers=[worker(name % (4000 + i), 3 + i, 3) for i in range(count)],
        leader_scores=LEADER,
        seconds_to_end=3900.0,
    )


def lines_of(
    screen: Screen, snapshot: StudySnapshot, activity: Activity, now: str = "", trouble: str = ""
) -> list[str]:
    return panel_lines(screen.console(), snapshot, activity, now, trouble)


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_fits_every_width(snapshot: StudySnapshot, width: int) -> None:
    lines = lines_of(Screen(width), snapshot, busy(), "trial 3 epoch 4/10, trial 4 epoch 4/10", "")
    assert all(cell_len(line) <= width for line in lines)
    text = "\n".join(lines)
    for fact in ("3/40 trials", "export in about 1 h 05 min", "best: trial 2, accuracy 0.7500 ± 0.0100", "1 pruned"):
        assert fact in text
    assert text.count("trial 3 epoch 4/10") == 1, "the line of the worker says it, the line above does not"
    assert text.count("1234 images/s") == 2
    assert next(line for line in lines if "best:" in line).endswith("▁█"), "the best so far rose once"
    assert "leader: trial 2" in lines[-1] and lines[-1].endswith("█")
    if width >= 120:
        assert "gpu-box-4000" in text and "H100" in text
    assert "0123456789ab" not in text, "the random part of a name is of no use to people"


def test_curves_are_aligned_and_on_one_scale(snapshot: StudySnapshot) -> None:
    lines = lines_of(Screen(120), snapshot, busy())
    own, other, leader = lines[-3:]
    place = leader.index("▂")
    assert own[place:] == other[place:] == "▁▂▃"  # 0.1 0.2 0.3 of 0.1 to 0.8
    assert leader[place:] == "▂▄▆▇█"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932"])
@pytest.mark.parametrize("width", WIDTHS)
def test_an_encoding_without_blocks_gets_other_characters(snapshot: StudySnapshot, encoding: str, width: int) -> None:
    lines = lines_of(Screen(width, encoding=encoding), snapshot, busy(name="計算機%d"))
    assert all(cell_len(line) <= width for line in lines)
    text = "\n".join(lines)
    text.encode(encoding)
    assert "export in about 1 h 05 min" in text and not re.search(r"\w\.\.\.", text), "facts are wrapped, not cut"
    assert not set(text) & set(BLOCKS) and set(lines[-1].split()[-1]) <= set(ASCII)
    assert ("0.7500 +/- 0.0100" if encoding == "ascii" else "0.7500 ± 0.0100") in text


def test_the_linux_console_gets_no_blocks(snapshot: StudySnapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    assert not set("".join(lines_of(Screen(80), snapshot, busy()))) & set(BLOCKS)


@pytest.mark.parametrize("name", ["計算サーバー第一号機の長い名前-%d", "x" * 300 + "%d", "\x1b[2J%d\r", "🧑‍🔬%d"])
@pytest.mark.parametrize("width", [20, *WIDTHS])
def test_wide_long_and_hostile_names_of_workers(snapshot: StudySnapshot, name: str, width: int) -> None:
    screen = Screen(width)
    with ProgressView(screen.console(), {}, shown=3, activity=lambda _: busy(name=name)) as view:
        view.show(snapshot, "")
        assert screen.widest <= width
        assert "trial 3" in screen.text or width < 60
    assert screen.text == "", "the panel disappears"


def test_of_many_workers_some_are_counted_and_busy_ones_come_first(snapshot: StudySnapshot) -> None:
    idle = WorkerActivity(name="idle-box", host="h", device="cpu", seen=0.0, doing="idle")
    activity = replace(busy(20), workers=[idle, *busy(20).workers])
    lines = lines_of(Screen(120, height=14), snapshot, activity)
    assert len(lines) <= 14 and lines[-1] == "and 15 more workers" and not any("idle" in line for line in lines)


def test_what_the_workers_lines_do_not_say_stays(snapshot: StudySnapshot) -> None:
    def text(changed: StudySnapshot, now: str, trouble: str) -> str:
        return " ".join(lines_of(Screen(80), changed, busy(), now, trouble))

    assert "Ray starts nodes" in text(snapshot, "trial 3 epoch 4/10", "Ray starts nodes")
    assert "refit 1 of 3" in text(replace(snapshot, refits_open=3), "refit 1 of 3", "")
    assert "confirming 1 of 3" in text(replace(snapshot, confirms_waiting=3), "confirming 1 of 3", "")
    paused = replace(snapshot, study=Study.of(replace(snapshot.study.stored, state=StudyState.PAUSED)))
    assert "search resume" in text(paused, "", "paused; `search resume --study colours` continues")


def test_an_unchanged_panel_is_not_drawn_again(snapshot: StudySnapshot) -> None:
    screen = Screen(80)
    with ProgressView(screen.console(), {}, shown=3, activity=lambda _: busy()) as view:
        view.show(snapshot, "")
        before = screen.writes
        view.show(snapshot, "")
        assert screen.writes == before
        view.show(replace(snapshot, trials_paused=1), "")
        assert screen.writes == before + 1, "a panel is written at once"


@pytest.mark.parametrize(("before", "after"), [(200, 60), (120, 80), (80, 60), (60, 200)])
def test_a_new_width_leaves_nothing_behind(snapshot: StudySnapshot, before: int, after: int) -> None:
    screen = Screen(before)
    console = screen.console()
    with ProgressView(console, {}, shown=3, activity=lambda _: busy()) as view:
        console.print("above")
        view.show(snapshot, "")
        screen.resize(console, after)
        view.show(snapshot, "")
        assert screen.text.splitlines() == ["above", *panel_lines(console, snapshot, busy(), "", "")]
        screen.resize(console, before)
    assert screen.text == "above"


@pytest.mark.parametrize("width", [60, 64, 70, *WIDTHS])
def test_ended_trials_fit_an_output_without_unicode(snapshot: StudySnapshot, width: int) -> None:
    screen = Screen(width, encoding="ascii")
    console = screen.console()
    shown: list[str] = []
    long = dict.fromkeys(("optimizer.lr", "augment.rotate", "loss.label_smoothing", "augment.shift"), 0.123456)
    record = replace(snapshot.records[0], number=1, recipe=long)
    for length in range(1, 5):
        with console.capture() as capture:
            print_trial(console, replace(record, recipe=dict(list(long.items())[:length])), {})
        shown += encodable(console, re.sub(r"\x1b\[[0-9;]*m", "", capture.get())).splitlines()
    assert len(shown) == 4 and all(cell_len(line) <= width and "+/-" in line for line in shown)


@pytest.mark.parametrize("width", WIDTHS)
def test_trials_are_printed_above_the_panel(snapshot: StudySnapshot, width: int) -> None:
    screen = Screen(width)
    with ProgressView(screen.console(), {}, activity=lambda _: busy()) as view:
        view.show(replace(snapshot, ended=replace(snapshot.ended, trials=snapshot.records[:1])), "")
        view.show(snapshot, "")
        rows = screen.text.splitlines()
    assert [row.split()[:2] for row in rows[:3]] == [["trial", str(number)] for number in range(3)]
    assert screen.widest <= width and rows[3].startswith("[##")


def test_a_quiet_console_prints_failed_trials_alone(
    snapshot: StudySnapshot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    first, second, third = snapshot.records
    failed = replace(second, status=TrialStatus.FAILED, failure=Failure.DISK, reason="no room")
    clock: Callable[[], float] = iter([0.0, 100.0, 100.0]).__next__
    with ProgressView(open_console(quiet=True), {}, activity=lambda _: busy(), monotonic=clock) as view:
        view.show(replace(snapshot, ended=replace(snapshot.ended, trials=(first, failed, third))), "trial 3")
    (line,) = capsys.readouterr().out.splitlines()
    assert "failed" in line and "no room" in line


def test_a_file_reads_no_activity(snapshot: StudySnapshot) -> None:
    def fail(_: StudySnapshot) -> Activity:
        raise AssertionError("a log shows no workers")

    clock: Callable[[], float] = iter([0.0, 100.0, 100.0]).__next__
    output = io.StringIO()
    with ProgressView(Console(file=output), {}, shown=3, activity=fail, monotonic=clock) as view:
        view.show(snapshot, "trial 3 epoch 4/10", "a node starts")
    (line,) = output.getvalue().splitlines()
    assert line.endswith("best: trial 2, accuracy 0.7500 ± 0.0100 · trial 3 epoch 4/10 · a node starts")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_line_of_a_probe_shows_how_long_it_has_taken(snapshot: StudySnapshot, width: int) -> None:
    probe = WorkerActivity(
        name="vm", host="h", device="cpu", seen=0.0, doing="probe 1", kind=WorkKind.SEARCH, trial=1, seconds=65.0
    )
    line = lines_of(Screen(width), snapshot, Activity(workers=[probe]))[-1]
    assert line.endswith("probe 1  1 min 05 s")
