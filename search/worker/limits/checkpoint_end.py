"""The end of a training at its last checkpoint, where the time does not suffice for the epoch under way."""

from __future__ import annotations

from collections.abc import Callable

from search.study_state.time_budget import MARGIN

RESTART = 3.0
"""Seconds in which the networks are built again and the checkpoint is read."""


class CheckpointEnd:
    """The decision whether an abandoned training continues from its checkpoint, only to end with the epochs in it."""

    def __init__(self, has_checkpoint: Callable[[], bool]) -> None:
        """
        Args:
            has_checkpoint: whether the training can continue from a checkpoint.
        """
        self._has_checkpoint = has_checkpoint
        self._predictions: float | None = None
        self._requested = False
        self.under_way = False
        """Whether the training has been continued to end with the epochs of its checkpoint."""

    def begin_epoch(self, predictions: float) -> None:
        """Record that an epoch has ended and another follows.

        Args:
            predictions: predicted seconds of the predictions after the last epoch.
        """
        self._predictions = predictions

    def begin_predictions(self) -> None:
        """Record that only the predictions are left to do."""
        self._predictions = None

    @property
    def seconds(self) -> float:
        """Predicted seconds from the abandonment to the end of the training; 0: it cannot end at a checkpoint."""
        if self.under_way or self._predictions is None:
            return 0.0
        return RESTART + MARGIN * self._predictions

    def request(self) -> bool:
        """Request the end at the checkpoint. Returns False if there is none, or no epoch that could be left."""
        self._requested = self.seconds > 0.0 and self._has_checkpoint()
        self._predictions = None  # asked once in an epoch, because every batch would ask again
        return self._requested

    def begin(self) -> bool:
        """Whether the end was requested; from now on it is under way."""
        self.under_way, self._requested = self._requested, False
        return self.under_way
