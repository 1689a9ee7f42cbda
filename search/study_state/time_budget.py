"""Division of the time until a deadline (``--hours``) among search, confirmation, refits and export, in this order.

Each stage ends early enough for the stages that follow, judged by the trainings of the study so far. A study may end
before its deadline but not after it. Pure functions; `search.study_state.time_left` reads their arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.study_state.confirmation_schedule import confirmation_budget, finalist_count
from search.study_state.training_costs import full_training_seconds, length_ratio, upper_quantile, wall_seconds
from storage.values import DEFAULT_TRIAL, TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec

MARGIN = 1.2
"""Factor on predicted training times, because trainings differ in length."""
EXPORT_SECONDS = 20.0
"""Time reserved after the refits for predicting the test images, checking and writing the export."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Predicted training times of a study, in seconds, and the trainings that are left."""

    workers: int
    trial: float | None = None
    """Predicted seconds of another trial, see `training_costs.QUANTILE`; None before any trial gives an estimate."""
    final: float | None = None
    """Predicted seconds of one training of the slowest recipe that may be exported, with its exported epochs and image
    size; None as for ``trial``.
    """
    finished: bool = False
    """Whether any trial has finished, so that there is something to export."""
    under_way: float = 0.0
    """Seconds since the first trial began, as long as none has ended; 0 if none runs or one has ended."""
    contenders: int = 0
    """Number of recipes that are confirmed; 0: too few trials have ended, or the study has no confirmation."""
    confirmation: float = 0.0
    """Training seconds left for confirmation, summed over workers."""
    refits: int = 1
    """Trainings that the export of one recipe needs in addition to networks that are kept."""

    @property
    def refit_wall(self) -> float:
        """Wall-clock seconds from the end of the confirmation to the end of the export."""
        return MARGIN * wall_seconds(self.refits, self.final or 0.0, self.workers) + EXPORT_SECONDS

    @property
    def least_confirmation_wall(self) -> float:
        """Wall-clock seconds for one round of the leader and the default recipe."""
        return MARGIN * wall_seconds(min(2, self.contenders), self.final or 0.0, self.workers)

    @property
    def confirmation_wall(self) -> float:
        """Wall-clock seconds for confirmation with its full share of the training time."""
        if not self.contenders:
            return 0.0
        return max(self.least_confirmation_wall, MARGIN * self.confirmation / max(1, self.workers))


def measure_costs(
    spec: StudySpec,
    records: Sequence[TrialRecord],
    best: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord],
    *,
    workers: int,
    under_way: float = 0.0,
    kept: bool = False,
) -> Costs:
    """Predict the costs of a study from its ended trainings.

    Args:
        records: all search trials that have ended.
        best: the finished search trials whose recipes may be exported.
        confirmations: all confirmations that have ended.
        under_way: seconds since the first running trial began; 0 if none runs.
        kept: whether all workers keep their networks where the export will be made, so that the networks of an earlier
            training can replace a refit.
    """
    finished = [record for record in records if record.status is TrialStatus.FINISHED and record.recipe]
    trial = upper_quantile(full_training_seconds(records))
    final_seconds = [record.seconds * length_ratio(record.recipe or {}, spec.final) for record in finished]
    # Any of the best may be exported, so the slowest of them counts.
    exportable = [record.seconds * length_ratio(record.recipe or {}, spec.final) for record in best if record.recipe]
    confirmed = [record.seconds for record in confirmations if record.status is TrialStatus.FINISHED]
    known = [seconds for seconds in (upper_quantile(final_seconds), *exportable, *confirmed) if seconds is not None]
    if trial is not None and not known:
        known = [trial * length_ratio(spec.default_recipe(), spec.final)]
    finalists = finalist_count(sum(record.counts for record in records), spec.confirm)
    search_seconds = sum(record.seconds for record in records) + (trial or 0.0)
    contenders = finalists + any(record.number == DEFAULT_TRIAL for record in finished) if finalists else 0
    final = max(known) if known else None
    as_exported = bool(best) and all(length_ratio(r.recipe or {}, spec.final) == 1.0 for r in best)
    budget = confirmation_budget(search_seconds, spec.confirm.share) - sum(record.seconds for record in confirmations)
    return Costs(
        workers=max(1, workers),
        trial=trial,
        final=final,
        finished=bool(finished),
        under_way=0.0 if trial is not None else under_way,
        contenders=contenders,
        confirmation=max(0.0, min(budget, contenders * spec.confirm.rounds * (final or 0.0))),
        # A confirmation is a training of the export as well, and so is a trial of the exported length. If its networks
        # are lost nevertheless, the provisional submission is what is ready in time.
        refits=spec.final.seeds - (1 if kept and (contenders or as_exported) else 0),
    )


def is_time_for_trial(costs: Costs, *, now: float, deadline: float) -> bool:
    """Whether a trial that begins at ``now`` would end early enough for confirmation, refits and export.

    Before any trial has ended, the age of the running ones is a lower bound on the time of a trial and of a refit.
    Without a running trial nothing is known, and the trial may begin at any time before the deadline.

    Args:
        now, deadline: Unix seconds.
    """
    if costs.trial is None:
        return now + costs.under_way * (1 + wall_seconds(costs.refits, 1.0, costs.workers)) < deadline
    return now + MARGIN * costs.trial + costs.confirmation_wall + costs.refit_wall <= deadline


def confirmations_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """How many confirmations that begin at ``now`` would end early enough for refits and export, 0 or more."""
    return _trainings_within(costs, deadline - now - costs.refit_wall)


def refits_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """Number of refits that would end early enough for the export if they began at ``now``, 0 or more.

    The caller divides them among recipes and seeds.
    """
    return _trainings_within(costs, deadline - now - EXPORT_SECONDS)


def latest_end(costs: Costs, kind: WorkKind, *, deadline: float, export_seconds: float) -> float:
    """Latest time (Unix seconds) at which a running training may end so that the following stages fit.

    A trial leaves time for one round of confirmation and the refits, a confirmation for the refits. Refits have no
    limit. Nor have trials while none has finished, because there would be nothing to export.

    Args:
        export_seconds: seconds of a training of its recipe with the epochs and the image size of the export.
    """
    if kind is WorkKind.REFIT or (kind is WorkKind.SEARCH and not costs.finished):
        return math.inf
    own = MARGIN * wall_seconds(costs.refits, export_seconds, costs.workers) + EXPORT_SECONDS
    confirmation = costs.least_confirmation_wall if kind is WorkKind.SEARCH else 0.0
    return deadline - max(own, costs.refit_wall) - confirmation


def _trainings_within(costs: Costs, seconds: float) -> int:
    """How many trainings of `Costs.final` seconds all workers complete within ``seconds``."""
    if not costs.final:
        return 0
    return max(0, math.floor(seconds / (MARGIN * costs.final))) * costs.workers
