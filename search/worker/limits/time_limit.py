"""Time limit of one training: it is shortened, ended early or abandoned, so that its study meets the deadline."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from search.study_state.time_budget import (
    MARGIN,
    PLAIN_OVERHEAD,
    SHORTENED_MARGIN,
    latest_end,
)
from search.study_state.time_left import latest_probe_end
from search.study_state.training_costs import (
    TrainingCost,
    length,
    length_ratio,
    passes,
    predicted_cost,
    probed_sizes,
)
from search.worker.limits.checkpoint_end import CheckpointEnd
from search.worker.limits.image_passes import ImagePasses
from search.worker.limits.least import least_epochs, least_length
from search.worker.limits.limit import OutOfTime, TooSlow
from search.worker.limits.shortened import SMALLEST_SIDE, shortened, shortened_cost, sufficient_size
from search.worker.limits.study_time import StudyTime
from storage.values import WorkKind
from trainer.recipe.recipe import LINEAR_PROBE, Recipe

if TYPE_CHECKING:
    from trainer.training.results import EpochReport, Verdict
    from trainer.training.throughput import Rehearsal

WARM_UP = 0.05
"""Share of an epoch that is not timed: its first batches take longer than the others."""
LEAST_PROGRESS = 0.05
"""Share of an epoch after which its length is estimated, beside the `WARM_UP`. The estimate is repeated whenever the
share has doubled, because other programs may slow the training down.
"""
REHEARSED_PROGRESS = 0.2
"""The same where a rehearsal has predicted the length: a wrong estimate would cost more than it saves."""
LEAST_SECONDS = 2.0
"""The same in seconds."""


class TimeLimit:
    """The limit of one training of a study that may have a deadline. Its methods may be called from several threads."""

    def __init__(
        self,
        kind: WorkKind,
        read: Callable[[], StudyTime],
        *,
        images: ImagePasses,
        device: str,
        has_checkpoint: Callable[[], bool] = lambda: False,
        rehearse: bool = False,
        rehearsals: dict[str, tuple[int, Rehearsal]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            read: reads the present state of the study.
            images: of this training.
            device: of this worker, see `search.study_state.training_costs.device_of`.
            has_checkpoint: whether the training can continue from a checkpoint, which fits only its own recipe.
            rehearse: whether the training is rehearsed without a deadline, too, so that people see how long it takes.
            rehearsals: image size and speed, with all layers learning, of the rehearsals of this worker, by backbone;
                those of this training are added.
            clock: returns seconds, monotonic.
        """
        self._kind, self._read_study, self._device, self._clock = kind, read, device, clock
        self._has_checkpoint, self._resumed = has_checkpoint, False
        self._checkpoint_end = CheckpointEnd(has_checkpoint)
        self._images, self._rehearse = images, rehearse
        self._rehearsals = {} if rehearsals is None else rehearsals
        self._lock = threading.Lock()
        self._state: StudyTime | None = None
        self._read_at = -math.inf
        self._epoch_from: tuple[float, float] | None = None  # time and trained share at which this epoch was first seen
        self._judged = False  # whether the length of the training is known, from earlier ones or its own epochs
        self._next_estimate = LEAST_PROGRESS  # share of the epoch
        self._rehearsed: int | None = None  # the image size of the last rehearsal
        self._pass: tuple[int, float] | None = None  # an image size, and the measured seconds of a pass at that size
        self._original: Recipe | None = None  # before it was shortened
        self.reason = ""
        self.missed: float | None = None
        """The deadline that the training would miss, once it has been given up; else None."""
        self.given_up = ""
        self.of_probe = False
        """Whether the training is a linear probe, once `fit` has been called."""

    def fit(self, recipe: Recipe) -> None:
        with self._lock:
            self.of_probe = recipe.method == LINEAR_PROBE
            state = self._refresh()
            self._resumed = self._has_checkpoint()
            self._epoch_from = None
            self._next_estimate = REHEARSED_PROGRESS if recipe.image_size == self._rehearsed else LEAST_PROGRESS
            known = cost = predicted_cost(state.ended.measured, recipe.to_flat(), self._device)
            self._judged = known is not None or self._resumed
            if state.study.deadline is None and not (self._rehearse and recipe.method != LINEAR_PROBE):
                self._judged = True
            if recipe.method == LINEAR_PROBE and state.study.deadline is not None:
                self._judged = False  # it ends within its share of the time, even if the machine has become slower
            if cost is None and recipe.method != LINEAR_PROBE and recipe.backbone in self._rehearsals:
                size, known_speed = self._rehearsals[recipe.backbone]
                self._pass = size, known_speed.prediction
                epoch = known_speed.epoch * (recipe.image_size / size) ** 2 * passes(recipe.freeze)
                cost = self._cost_of(recipe, epoch)
            if cost is not None and not self._resumed:
                self._shorten(state, recipe, cost, cost.total(recipe.epochs), known=known is not None)

    def is_unknown(self, recipe: Recipe) -> bool:
        is_known = self._judged or recipe.image_size == self._rehearsed
        return self._kind is WorkKind.SEARCH and not is_known and recipe.method != LINEAR_PROBE

    def rehearsed(self, recipe: Recipe, speed: Rehearsal) -> float:
        with self._lock:
            # With a deadline not final: the first batches of the training itself are measured as well.
            self._rehearsed, self._next_estimate = recipe.image_size, REHEARSED_PROGRESS
            unfrozen = replace(speed, epoch=speed.epoch / passes(recipe.freeze))
            self._rehearsals[recipe.backbone] = recipe.image_size, unfrozen
            self._pass = recipe.image_size, speed.prediction
            cost, state = self._cost_of(recipe, speed.epoch), self._refresh()
            self._judged = state.study.deadline is None
            self._shorten(state, recipe, cost, cost.total(recipe.epochs))
            return cost.total(recipe.epochs)

    def on_batch(self, recipe: Recipe, share: float) -> None:
        if self._judged:
            return
        with self._lock:
            now = self._clock()
            # Until the share grows, the epoch has not begun: a probe may come first (`head = "probe"`).
            if self._epoch_from is None or share <= max(self._epoch_from[1], WARM_UP):
                self._epoch_from = now, share
            seconds, progress = now - self._epoch_from[0], share - self._epoch_from[1]
            if self._judged or progress < self._next_estimate or seconds < LEAST_SECONDS:
                return
            self._next_estimate = 2 * progress
            epoch = self._images.evaluation(recipe) * seconds / progress
            cost = self._cost_of(recipe, epoch)
            self._shorten(self._refresh(), recipe, cost, cost.total(recipe.epochs) - share * epoch)

    def after_epoch(self, recipe: Recipe, report: EpochReport) -> Verdict:
        from trainer.training.results import Verdict

        with self._lock:
            self._judged = True
            state = self._refresh()
            left = report.epochs - report.epoch
            if state.study.deadline is None or not left:
                self._checkpoint_end.begin_predictions()
                return Verdict.CONTINUE
            if self._checkpoint_end.under_way:
                return self._finish(report)
            if report.prediction_seconds and (held_out := self._images.held_out_passes(recipe)):
                self._pass = recipe.image_size, report.prediction_seconds / held_out
            known = predicted_cost(state.ended.measured, recipe.to_flat(), self._device)
            cost = self._cost_of(recipe, report.seconds)
            cost = replace(cost, overhead=known.overhead) if known else cost
            end = self._latest_end(state, recipe, cost)
            self._checkpoint_end.begin_epoch(cost.overhead)
            if state.now + cost.total(left) <= end:
                return Verdict.CONTINUE
            if report.epoch < least_epochs(state, self._kind, recipe, report.epochs):
                self._give_up(state, f"epoch {report.epoch} of {report.epochs} took {report.seconds:.0f} s", end)
                return Verdict.STOP
            if state.now + MARGIN * cost.total(1) <= end:
                return Verdict.CONTINUE
            return self._finish(report)

    def _finish(self, report: EpochReport) -> Verdict:
        from trainer.training.results import Verdict

        self._checkpoint_end.begin_predictions()
        self.reason = f"ended after epoch {report.epoch} of {report.epochs} for the deadline"
        return Verdict.FINISH

    def passed(self) -> bool:
        with self._lock:
            state = self._state or self._refresh()
            if not self._is_due(state, self._seconds_at_checkpoint(state)):
                return False
            # The deadline is read again only now: before, an outage of the database would hold up the training.
            state = self._refresh()
            at_checkpoint = self._seconds_at_checkpoint(state)
            if not self._is_due(state, at_checkpoint):
                return False
            if at_checkpoint and self._checkpoint_end.request():
                return True
            if not self._is_due(state):
                return False
            self._give_up(state, "it was under way when the export had to begin")
            return True

    def ends_at_checkpoint(self) -> bool:
        with self._lock:
            begins = self._checkpoint_end.begin()
            if begins:
                self.reason = "ended after its last checkpoint for the deadline"  # until the number of epochs is known
            return begins

    def _seconds_at_checkpoint(self, state: StudyTime) -> float:
        """Seconds in which this training would end at its checkpoint; 0 if others can be exported in its place."""
        is_needed = self._kind is WorkKind.SEARCH and not state.costs.finished
        return self._checkpoint_end.seconds if is_needed else 0.0

    def _give_up(self, state: StudyTime, reason: str, end: float | None = None) -> None:
        """Record that the training is given up.

        Args:
            end: when it would have to end, Unix seconds.
        """
        left = "" if end is None else f", and {max(0.0, end - state.now):.0f} s were left for the trial"
        self.missed, self.given_up = state.study.deadline, f"{reason}{left}"

    def _is_due(self, state: StudyTime, seconds: float = 0.0) -> bool:
        """Whether the training has at most ``seconds`` left, by a state that `_refresh` has read."""
        deadline, now = state.study.deadline, state.now + self._clock() - self._read_at
        return deadline is not None and now > deadline - state.costs.kept_for_export - seconds

    def _shorten(
        self, state: StudyTime, recipe: Recipe, cost: TrainingCost, remaining: float, *, known: bool = False
    ) -> None:
        """Raise `TooSlow` or `OutOfTime` if the ``remaining`` seconds of the training are too many.

        Args:
            known: whether the cost was measured by other trainings.
        """
        if state.study.deadline is None or self._kind is not WorkKind.SEARCH:
            return
        left = self._latest_end(state, recipe, cost) - state.now
        if remaining <= left:
            return
        overhead = self._last_predictions(recipe, cost.epoch, plain=True)
        if known:
            # It may be that of trials that predicted no test image, because others were better.
            overhead = max(PLAIN_OVERHEAD * cost.overhead, overhead)
        plain = replace(cost, overhead=overhead)
        if state.costs.finished:
            probed = probed_sizes(state.ended.trials, recipe.backbone)
            enough = sufficient_size(state.ended.trials, recipe.backbone, recipe.image_size)
            within = left / SHORTENED_MARGIN
            shorter = shortened(recipe, plain, within, probed=bool(probed), sufficient=enough)
            if shorter is None or length(shorter.to_flat()) < least_length(state, recipe, enough):
                self._give_up(state, f"one epoch takes about {cost.epoch:.0f} s", state.now + left)
                raise OutOfTime(self.given_up)
        else:
            # There is nothing else to do with the time, so the shortest training is tried even if it seems too long.
            shorter = shortened(recipe, plain, left / SHORTENED_MARGIN) or recipe.replace(
                {"epochs": 1, "image_size": min(SMALLEST_SIDE, recipe.image_size)}
            )
        if shorter == recipe:
            return
        whole = self._original = self._original or recipe
        fewer = f"from {whole.epochs} to {shorter.epochs} epoch{'s' * (shorter.epochs != 1)}"
        changes = [fewer] * (shorter.epochs != whole.epochs)
        smaller = f"from {whole.image_size} to {shorter.image_size} pixels"
        changes += [smaller] * (shorter.image_size != whole.image_size)
        changes += [f"to {1.0 - shorter.freeze:.0%} of the layers"] * (shorter.freeze != whole.freeze)
        self.reason = f"shortened {' and '.join(changes)} for the deadline"
        raise TooSlow(shorter, self.reason, seconds=shortened_cost(recipe, plain, shorter).total(shorter.epochs))

    def _cost_of(self, recipe: Recipe, epoch: float) -> TrainingCost:
        """The cost of a training with epochs of ``epoch`` seconds."""
        return TrainingCost(epoch=epoch, overhead=self._last_predictions(recipe, epoch, plain=bool(self.reason)))

    def _last_predictions(self, recipe: Recipe, epoch: float, *, plain: bool) -> float:
        """Seconds of the predictions after the last epoch, by the speed that was measured or that of the epochs.

        Args:
            plain: as in `ImagePasses.last_passes`.
        """
        if self._pass is None or recipe.method == LINEAR_PROBE:
            return self._images.predictions(recipe, plain=plain) * epoch
        size, seconds = self._pass
        return self._images.last_passes(recipe, plain=plain) * seconds * (recipe.image_size / size) ** 2

    def _latest_end(self, state: StudyTime, recipe: Recipe, cost: TrainingCost) -> float:
        """Latest end of this training, Unix seconds on the database's clock."""
        assert state.study.deadline is not None, "without a deadline there is no limit"
        final = cost.total(recipe.epochs)
        if self._kind is WorkKind.SEARCH:
            final *= length_ratio(recipe.to_flat(), state.study.spec.final)
        end = latest_end(state.costs, self._kind, deadline=state.study.deadline, final_seconds=final)
        if recipe.method == LINEAR_PROBE and state.costs.finished:
            end = min(end, latest_probe_end(state.study, state.ended.trials, recipe.backbone, recipe.image_size))
        return end

    def _refresh(self) -> StudyTime:
        """Read the present state of the study."""
        self._state, self._read_at = self._read_study(), self._clock()
        return self._state
