"""Restart policy of workers, the same for every engine: growing pauses, and an end after repeated early crashes."""

from __future__ import annotations

from collections.abc import Callable

from search.runtime.errors import EXIT_MISTAKE

FIRST_PAUSE = 1.0  # seconds before the first restart; doubled at each further one
LONGEST_PAUSE = 60.0  # seconds
SHORT_LIFE = 60.0  # seconds; a worker that ends sooner has hardly trained
SHORT_LIVES = 5
"""Short lives in a row after which a worker is not restarted any more."""
LONG_LIFE = 600.0  # seconds of life after which the pauses start at `FIRST_PAUSE` again


class Restarts:
    """Restart schedule of one worker. It computes when a restart is due, and never sleeps.

    A worker that crashes once a night is always restarted. A worker that crashes right after each start is not
    restarted after the crash number `SHORT_LIVES`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """The first start is due immediately.

        Args:
            clock: monotonic time in seconds.
        """
        self._clock = clock
        self._due_at: float | None = clock()
        self._started_at = 0.0
        self._short_lives = 0
        self._pause = FIRST_PAUSE

    def started(self) -> None:
        """Record that the worker was started just now."""
        self._started_at = self._clock()
        self._due_at = None

    def ended(self, code: int) -> None:
        """Record that the worker ended, and schedule its restart.

        It is not restarted if its work is done (0), or if its input is invalid (`EXIT_MISTAKE`) and would fail again.

        Args:
            code: exit code of the process, or the negative number of the signal that ended it.
        """
        self._due_at = None
        if code in (0, EXIT_MISTAKE):
            return
        now = self._clock()
        lived = now - self._started_at
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 0
        if self._short_lives >= SHORT_LIVES:
            return
        if lived >= LONG_LIFE:
            self._pause = FIRST_PAUSE
        self._due_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def lost(self) -> None:
        """Record that the worker was lost with its machine: it did not crash, so a restart is due immediately."""
        self._due_at = self._clock()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the next start, 0 once it is due. None: the worker lives, or will not be restarted."""
        return None if self._due_at is None else max(0.0, self._due_at - self._clock())

    @property
    def due(self) -> bool:
        """Whether a start is due now."""
        return self.seconds_left == 0.0
