"""Restart policy: the pauses, and when a worker is given up."""

from __future__ import annotations

import pytest

from search.engines.restarts import LONG_LIFE, LONGEST_PAUSE, SHORT_LIFE, SHORT_LIVES, Restarts
from search.runtime.errors import EXIT_BUG, EXIT_MISTAKE

SIGKILLED = -9


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def live(worker: Restarts, clock: Clock, seconds: float, code: int) -> float | None:
    """Start the worker, let it end with ``code`` after ``seconds``, and wait for its restart. Returns the pause."""
    worker.started()
    assert worker.seconds_left is None and not worker.due
    clock.now += seconds
    worker.ended(code)
    pause = worker.seconds_left
    clock.now += pause or 0.0
    assert worker.due == (pause is not None)
    return pause


def test_the_first_start_is_due_and_a_restart_is_due_after_its_pause(clock: Clock) -> None:
    worker = Restarts(clock)
    assert worker.due
    worker.started()
    worker.ended(EXIT_BUG)
    clock.now += 0.99
    assert not worker.due and worker.seconds_left == pytest.approx(0.01)
    clock.now += 0.02
    assert worker.due


@pytest.mark.parametrize("code", [0, EXIT_MISTAKE])
def test_finished_work_and_invalid_input_end_a_worker_for_good(clock: Clock, code: int) -> None:
    assert live(Restarts(clock), clock, 7200.0, code) is None


@pytest.mark.parametrize("code", [EXIT_BUG, SIGKILLED])
def test_a_worker_that_crashes_at_each_start_is_given_up(clock: Clock, code: int) -> None:
    worker = Restarts(clock)
    pauses = [live(worker, clock, 3.0, code) for _ in range(SHORT_LIVES)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, None]


def test_pauses_grow_to_a_minute_and_longer_lives_never_lead_to_giving_up(clock: Clock) -> None:
    worker = Restarts(clock)
    pauses = [live(worker, clock, SHORT_LIFE, SIGKILLED) for _ in range(50)]
    assert pauses[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_daily_crash_is_restarted_without_limit(clock: Clock) -> None:
    worker = Restarts(clock)
    for _ in range(365):
        assert live(worker, clock, 24 * 3600.0, SIGKILLED) == 1.0
    four = [live(worker, clock, 1.0, SIGKILLED) for _ in range(SHORT_LIVES - 1)]
    assert None not in four
    assert live(worker, clock, LONG_LIFE, SIGKILLED) == 1.0, "a long life clears the count"
    assert None not in [live(worker, clock, 1.0, SIGKILLED) for _ in range(SHORT_LIVES - 1)]


def test_the_loss_of_a_machine_is_no_crash(clock: Clock) -> None:
    worker = Restarts(clock)
    for _ in range(100):
        worker.started()
        worker.lost()
        assert worker.due
    assert live(worker, clock, 1.0, SIGKILLED) == 1.0
