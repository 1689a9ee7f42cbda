"""Stop signals: a grace period after the first, an immediate end at the second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from search.runtime.errors import EXIT_INTERRUPTED
from search.runtime.signals import StopSignals


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in StopSignals.SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", StopSignals.SIGNALS)
def test_the_grace_period_starts_at_the_first_signal(number: signal.Signals) -> None:
    clock = Clock()
    signals = StopSignals(grace=30.0, clock=clock).install()
    clock.now += 1000
    assert not signals.requested and not signals.overdue
    os.kill(os.getpid(), number)
    assert signals.requested and not signals.overdue
    clock.now += 29.9
    assert not signals.overdue
    clock.now += 0.1
    assert signals.overdue


def test_a_search_under_nohup_survives_the_end_of_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = StopSignals().install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not signals.requested
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.requested


def test_the_end_of_the_parent_counts_as_the_first_signal() -> None:
    clock = Clock()
    assert not StopSignals(parent=os.getppid(), clock=clock).requested
    orphaned = StopSignals(parent=1 if os.getppid() != 1 else 2, grace=5.0, clock=clock)
    assert orphaned.requested and not orphaned.overdue
    clock.now += 5
    assert orphaned.overdue


@pytest.mark.slow
def test_the_second_signal_ends_the_process_immediately() -> None:
    program = (
        "import os, signal; from search.runtime.signals import StopSignals\n"
        "s = StopSignals(before_exit=lambda: print('children are ended', flush=True)).install()\n"
        "os.kill(os.getpid(), signal.SIGTERM); print(s.requested, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT); print('not reached', flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_INTERRUPTED
    assert done.stdout == "True\nchildren are ended\n"


@pytest.mark.slow
def test_the_second_signal_ends_a_process_that_waits_for_its_database() -> None:
    program = (
        "import logging, os, signal; from search.runtime.signals import StopSignals\n"
        "from storage.database.connection import retry\n"
        "from storage.errors import StorageUnavailableError\n"
        "def away(): raise StorageUnavailableError('gone')\n"
        "logging.basicConfig(); StopSignals().install(); retry(away, 1800.0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in range(2):  # it waits for the database before and after the first signal
            assert "the database does not answer" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == EXIT_INTERRUPTED
