"""The limit on the time of one training, as the training asks about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from search.runtime.errors import SearchError
from trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport, Verdict
    from trainer.training.throughput import Rehearsal


class TooSlow(SearchError):
    """The training would end too late. The shorter ``recipe`` would not; it takes about ``seconds``."""

    def __init__(self, recipe: Recipe, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.recipe, self.reason, self.seconds = recipe, reason, seconds


class OutOfTime(SearchError):
    """The training would end too late, and no shorter one is useful."""


class Limit(Protocol):
    """What a training asks about its time."""

    reason: str
    """Why the training was shortened or ended early, for people; empty if it was not."""
    missed: float | None
    """The deadline that the training would miss, once it has been given up; else None."""
    given_up: str
    """Why the training would miss it, for people; empty while it has not been given up."""

    def fit(self, recipe: Recipe) -> None:
        """Called before the training. Raises `TooSlow` if it is known to end too late."""

    def is_unknown(self, recipe: Recipe) -> bool:
        """Whether nothing is known yet of the recipe's length, so that a rehearsal helps."""

    def rehearsed(self, recipe: Recipe, speed: Rehearsal) -> float:
        """Called after a rehearsal; returns the predicted seconds of the training.

        Raises `TooSlow` or `OutOfTime`.
        """

    def on_batch(self, recipe: Recipe, share: float) -> None:
        """Called before every batch with the trained share of the epoch; may raise `TooSlow` or `OutOfTime`."""

    def after_epoch(self, recipe: Recipe, report: EpochReport) -> Verdict:
        """Called after every epoch: continue, finish with the predictions, or stop and release the item."""

    def passed(self) -> bool:
        """Whether the training has to be abandoned at once."""

    def ends_at_checkpoint(self) -> bool:
        """Whether an abandoned training continues from its checkpoint, only to end with the epochs in it.

        Called once after each call that was abandoned.
        """


class NoLimit:
    """The limit of a training without a deadline."""

    reason = ""
    missed: float | None = None
    given_up = ""

    def fit(self, recipe: Recipe) -> None:
        """See `Limit`, as below."""

    def is_unknown(self, recipe: Recipe) -> bool:
        return False

    def rehearsed(self, recipe: Recipe, speed: Rehearsal) -> float:
        return speed.epoch * recipe.epochs

    def on_batch(self, recipe: Recipe, share: float) -> None: ...

    def after_epoch(self, recipe: Recipe, report: EpochReport) -> Verdict:
        from trainer.training.results import Verdict

        return Verdict.CONTINUE

    def passed(self) -> bool:
        return False

    def ends_at_checkpoint(self) -> bool:
        return False
