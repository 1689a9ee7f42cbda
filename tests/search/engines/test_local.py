"""Local worker processes: start, restart, end, environment and logs."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import search.engines.process
from search.engines.interface import Fleet, WorkerCommand
from search.engines.local import LocalFleet
from search.engines.process import LOG_LIMIT
from search.engines.restarts import SHORT_LIVES
from search.runtime.gpus.placement import Placement
from search.runtime.process_names import process_name
from search.runtime.worker_environment import SUFFIX_VARIABLE

pytestmark = pytest.mark.slow

ONE = Placement(gpus=(None,), threads=1)
TWO = Placement(gpus=(None, None), threads=1)
WAITING = "echo $$ > $RETABLE_PLACE.pid\nwhile true; do sleep 0.05; done"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def command(tmp_path: Path) -> WorkerCommand:
    return WorkerCommand(study="colours", storage_url=f"sqlite:///{tmp_path / 'none.db'}", data=tmp_path, home=tmp_path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every worker run a few lines of shell, in the test's own folder."""

    def install(lines: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        monkeypatch.setattr(search.engines.process.sys, "executable", str(path))
        monkeypatch.chdir(tmp_path)

    return install


def eventually(condition: Callable[[], object], patience: float = 100.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pid_of(place: int, folder: Path) -> int | None:
    file = folder / f"{place}.pid"
    text = file.read_text().strip() if file.exists() else ""
    return int(text) if text else None


def test_a_worker_with_invalid_input_is_not_restarted_and_its_error_is_shown(
    tmp_path: Path, command: WorkerCommand
) -> None:
    workers: Fleet = LocalFleet(command, TWO, tmp_path / "logs")
    with workers:
        eventually(lambda: not workers.poll())
        report = workers.crash_report()
    assert report.count("ended with exit code 2") == 2
    assert "there is no database" in report
    assert (tmp_path / "logs" / "worker-1.log").read_text().count("error: ") == 1, "it was not started again"


def test_a_crashing_worker_is_restarted_after_growing_pauses_and_then_given_up(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None], clock: Clock
) -> None:
    program("echo $RETABLE_PLACE $RETABLE_STORAGE; kill -9 $$")
    log = tmp_path / "logs" / "worker-0.log"
    dead_workers: list[str] = []
    with LocalFleet(command, ONE, tmp_path / "logs", clock=clock) as workers:
        for life in range(1, SHORT_LIVES):
            pause = 2.0 ** (life - 1)
            eventually(lambda: workers.poll() and workers.waits_for())
            assert workers.waits_for() == f"worker 0 restarts in {pause:.0f} s"
            clock.now += pause - 0.01
            assert workers.poll() and len(log.read_text().splitlines()) == life, "too early"
            dead_workers += workers.dead_workers()
            clock.now += 0.02
            assert workers.poll() and not workers.waits_for()
        eventually(lambda: not workers.poll())
        assert workers.waits_for() == ""
        report = workers.crash_report()
        dead_workers += workers.dead_workers()
    assert f"worker 0 ended with exit code -9; the end of {log}:\n  0 sqlite" in report
    assert log.read_text().splitlines() == [f"0 sqlite:///{tmp_path / 'none.db'}"] * SHORT_LIVES
    assert len(set(dead_workers)) == len(dead_workers) == SHORT_LIVES


def test_a_dead_worker_is_reported_once_by_its_own_name(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(WAITING)
    with LocalFleet(command, TWO, tmp_path / "logs") as workers:
        eventually(lambda: pid_of(0, tmp_path) and pid_of(1, tmp_path))
        pid = pid_of(0, tmp_path)
        assert workers.poll() and not workers.dead_workers()
        os.kill(pid, signal.SIGKILL)
        dead: list[str] = []
        eventually(lambda: (workers.poll() and dead.extend(workers.dead_workers())) or dead)
        (name,) = dead
        host, process, suffix = name.rsplit("-", 2)
        assert (host, process) == (socket.gethostname(), str(pid))
        monkeypatch.setenv(SUFFIX_VARIABLE, suffix)
        monkeypatch.setattr(os, "getpid", lambda: pid)
        assert process_name() == name, "the worker gives itself the same name"
        assert workers.poll() and not workers.dead_workers()


def test_a_worker_that_ended_without_error_is_not_restarted(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None], clock: Clock
) -> None:
    program("echo once")
    with LocalFleet(command, ONE, tmp_path / "logs", clock=clock) as workers:
        eventually(lambda: not workers.poll())
        clock.now += 3600.0
        assert not workers.poll()
        assert workers.crash_report() == "" and len(workers.dead_workers()) == 1
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "once\n"


def test_no_worker_is_restarted_after_a_stop(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None], clock: Clock
) -> None:
    program("trap 'exit 3' TERM\n" + WAITING)
    with LocalFleet(command, TWO, tmp_path / "logs", clock=clock) as workers:
        eventually(lambda: pid_of(0, tmp_path) and pid_of(1, tmp_path))
        workers.ask_to_stop()
        assert workers.wait(100.0)
        clock.now += 3600.0
        assert not workers.poll()
        assert len(workers.dead_workers()) == 2, "also workers that end during `wait`"
        assert workers.crash_report().count("ended with exit code 3") == 2


def test_no_worker_outlives_its_fleet_or_shows_the_url(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None]
) -> None:
    program('echo "$@"\n' + WAITING)
    with LocalFleet(command, TWO, tmp_path / "logs") as workers:
        eventually(lambda: pid_of(0, tmp_path) and pid_of(1, tmp_path))
        assert workers.poll()
        assert not workers.wait(0.01)
    assert all(not Path(f"/proc/{pid_of(place, tmp_path)}").exists() for place in (0, 1))
    assert "none.db" not in (tmp_path / "logs" / "worker-0.log").read_text()
    assert "none.db" not in repr(command)


def test_the_arguments_and_environment_of_a_worker(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None]
) -> None:
    program(
        'echo "$@"\n'
        'echo "place $RETABLE_PLACE parent $RETABLE_PARENT threads $OMP_NUM_THREADS'
        " gpu <${CUDA_VISIBLE_DEVICES-unset}> share ${RETABLE_GPU_SHARE-unset}"
        ' device ${RETABLE_DEVICE-unset} cores $RETABLE_CORES"'
    )
    command = replace(command, weights=tmp_path / "weights", options=("--stay", "--grace", "30"))

    def started_with(placement: Placement, place: int) -> list[str]:
        logs = tmp_path / "logs"
        with LocalFleet(command, placement, logs) as workers:
            eventually(lambda: not workers.poll())
        return (logs / f"worker-{place}.log").read_text().splitlines()[-2:]

    arguments, environment = started_with(Placement(gpus=("GPU-a", "GPU-a", "GPU-b"), threads=3, cores=7, per_gpu=2), 1)
    assert arguments == (
        f"-P -m search.cli worker --study colours --data {tmp_path} --home {tmp_path} "
        f"--weights {tmp_path}/weights --stay --grace 30"
    )
    assert environment == f"place 1 parent {os.getpid()} threads 3 gpu <GPU-a> share 0.5 device cuda cores 7"
    assert started_with(replace(ONE, gpus=("GPU-a",)), 0)[1].endswith("gpu <GPU-a> share unset device cuda cores 1")
    assert started_with(replace(ONE, hide_gpus=True), 0)[1].endswith("gpu <> share unset device unset cores 1")


def test_a_large_log_is_rotated_when_the_worker_restarts(
    tmp_path: Path, command: WorkerCommand, program: Callable[[str], None], clock: Clock
) -> None:
    program("echo another life; exit 1")
    log = tmp_path / "logs" / "worker-0.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (LOG_LIMIT + 1))
    log.with_name("worker-0.log.old").write_text("older still")
    with LocalFleet(command, ONE, tmp_path / "logs", clock=clock) as workers:
        eventually(lambda: workers.poll() and workers.waits_for())
        clock.now += 1.0
        assert workers.poll()
        eventually(lambda: workers.poll() and workers.waits_for())
    assert log.read_text() == "another life\n" * 2
    assert log.with_name("worker-0.log.old").stat().st_size == LOG_LIMIT + 1
    assert len(list(log.parent.iterdir())) == 2


def test_a_worker_that_cannot_be_started_is_retried_and_then_reported(
    tmp_path: Path, command: WorkerCommand, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(search.engines.process.sys, "executable", str(tmp_path / "no-python"))
    with LocalFleet(command, ONE, tmp_path / "logs", clock=clock) as workers:
        for _ in range(SHORT_LIVES - 1):
            assert workers.poll()
            clock.now += 60.0 - 1
        assert not workers.poll()
        assert "worker 0 cannot be started: " in workers.crash_report()
