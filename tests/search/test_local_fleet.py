"""Worker processes: started, given up, started again, ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import search.engines.local
from search.devices import Placement
from search.engines.local import RESTARTS, LocalFleet, WorkerCommand

TWO = Placement(gpus=(None, None), threads=1)


def fleet(tmp_path: Path) -> LocalFleet:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    command = WorkerCommand(study="colours", storage_url=url, data=tmp_path, home=tmp_path)
    return LocalFleet(command, TWO, tmp_path / "logs")


def eventually(condition: Callable[[], bool], patience: float = 100.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_with_bad_input_is_given_up_and_its_words_are_shown(tmp_path: Path) -> None:
    with fleet(tmp_path) as workers:
        eventually(lambda: not workers.tend())
        report = workers.crash_report()
    assert report.count("ended with exit code 2") == 2
    assert "there is no database" in report
    assert (tmp_path / "logs" / "worker-1.log").read_text().count("error: ") == 1, "it was not started again"


def test_a_worker_that_crashes_is_started_again_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "crashing"
    program.write_text("#!/bin/sh\necho $RETABLE_PLACE $RETABLE_STORAGE; kill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(search.engines.local.sys, "executable", str(program))
    with fleet(tmp_path) as workers:
        eventually(lambda: not workers.tend())
        assert "exit code -9" in workers.crash_report()
    lines = (tmp_path / "logs" / "worker-1.log").read_text().splitlines()
    assert lines == [f"1 sqlite:///{tmp_path / 'none.db'}"] * (1 + RESTARTS)


def test_no_worker_outlives_its_fleet_and_none_shows_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "waiting"
    program.write_text('#!/bin/sh\necho $$ > $RETABLE_PLACE.pid\necho "$@"\nwhile true; do read line; done\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search.engines.local.sys, "executable", str(program))
    files = [tmp_path / "0.pid", tmp_path / "1.pid"]
    with fleet(tmp_path) as workers:
        eventually(lambda: all(file.exists() and file.read_text().strip() for file in files))
        assert workers.tend()
        assert not workers.wait(0.01)
    pids = [int(file.read_text()) for file in files]
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
    assert "none.db" not in (tmp_path / "logs" / "worker-0.log").read_text()
