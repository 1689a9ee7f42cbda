"""When a worker that ended is started again: the same for every engine."""

from __future__ import annotations

from collections.abc import Callable

from search.runtime.errors import EXIT_MISTAKE

FIRST_PAUSE = 1.0  # seconds before a worker is started again; doubled from end to end
LONGEST_PAUSE = 60.0  # seconds
SHORT_LIFE = 60.0  # seconds; who ends sooner has hardly got to work
SHORT_LIVES = 5
"""Short lives in a row after which a worker is given up."""
LONG_LIFE = 600.0  # seconds after which an end is a new misfortune: the pauses begin anew


class Restarts:
    """The lives of one worker, and whether another follows.

    Never sleeps: it looks at the clock that it is given and says what is due. A worker that crashes once a night goes
    on for ever, one that cannot even start is given up soon.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """A worker that is due now.

        Args:
            clock: seconds from any beginning, never going back.
        """
        self._clock = clock
        self._due_at: float | None = clock()
        self._born = 0.0
        self._short_lives = 0
        self._pause = FIRST_PAUSE

    def started(self) -> None:
        """The worker was started just now."""
        self._born = self._clock()
        self._due_at = None

    def ended(self, code: int) -> None:
        """The worker ended with this exit code, or negative signal number.

        Work that is done (0) is done, and bad input would only fail again; anything else is worth another start.
        """
        self._due_at = None
        if code in (0, EXIT_MISTAKE):
            return
        now = self._clock()
        lived = now - self._born
        self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE else 0
        if self._short_lives >= SHORT_LIVES:
            return
        if lived >= LONG_LIFE:
            self._pause = FIRST_PAUSE
        self._due_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def lost(self) -> None:
        """The worker went down with its machine, which says nothing about the worker: it is due at once."""
        self._due_at = self._clock()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the next start, 0 once it is due. None: the worker lives, or is not started again."""
        return None if self._due_at is None else max(0.0, self._due_at - self._clock())

    @property
    def due(self) -> bool:
        """Whether to start the worker now."""
        return self.seconds_left == 0.0
