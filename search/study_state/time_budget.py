"""A deadline, divided: early is allowed, late is not.

``--hours`` covers the search, the confirmation of its best and the refits, in this order. Each ends while there is time
for what follows, by what trainings of the study have taken so far. Pure functions of seconds;
`search.study_state.snapshot` reads the costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.study_state.confirmation_schedule import confirmation_budget, finalist_count
from search.study_state.training_costs import length_ratio, upper, wall_seconds, whole_seconds
from storage.values import DEFAULT_TRIAL, TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec

MARGIN = 1.2
"""Trainings differ in length; a deadline is met by planning for somewhat longer ones than those seen."""
EXPORT_SECONDS = 20.0
"""Kept free for predicting, checking and writing the export once the refits are done."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the trainings of a study take, in seconds, and how many of them are to come."""

    workers: int
    trial: float | None = None
    """What another trial may well take; None before any has shown it."""
    final: float | None = None
    """One training of the costliest recipe that may be exported, at the length at which it is; None likewise."""
    finished: bool = False
    """Whether any trial has finished, so that there is something to export."""
    under_way: float = 0.0
    """For how long trials have been under way of which none has ended yet; 0 where none is, or one has."""
    contenders: int = 0
    """Recipes that are confirmed; 0: too few trials have ended, or no confirmation is wanted."""
    confirmation: float = 0.0
    """Seconds of training that are left for their confirmation."""
    refits: int = 1
    """Trainings of the export, for one recipe, beside those that have left their networks."""

    @property
    def refit_wall(self) -> float:
        """Seconds from the end of the confirmation to the end of the export."""
        return MARGIN * wall_seconds(self.refits, self.final or 0.0, self.workers) + EXPORT_SECONDS

    @property
    def least_confirmation_wall(self) -> float:
        """Seconds for one round of the leader and the default recipe."""
        return MARGIN * wall_seconds(min(2, self.contenders), self.final or 0.0, self.workers)

    @property
    def confirmation_wall(self) -> float:
        """Seconds for the confirmation with its whole share."""
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
    """Costs by what has ended.

    Args:
        records: of all search trials.
        best: of those that may be exported.
        confirmations: of all confirmations.
        under_way: seconds since the first of the trials that are under way began, 0 where none is.
        kept: whether all workers keep networks where the export will be made, so that other trainings count as refits.
    """
    finished = [record for record in records if record.status is TrialStatus.FINISHED and record.recipe]
    trial = upper(whole_seconds(records))
    finals = [record.seconds * length_ratio(record.recipe or {}, spec.final) for record in finished]
    # Any of the best may be exported, and each is as likely to be the slowest as another.
    costliest = [record.seconds * length_ratio(record.recipe or {}, spec.final) for record in best if record.recipe]
    confirmed = [record.seconds for record in confirmations if record.status is TrialStatus.FINISHED]
    known = [seconds for seconds in (upper(finals), *costliest, *confirmed) if seconds is not None]
    if trial is not None and not known:
        known = [trial * length_ratio(spec.default_recipe(), spec.final)]
    finalists = finalist_count(sum(record.counts for record in records), spec.confirm)
    search_seconds = sum(record.seconds for record in records) + (trial or 0.0)
    contenders = finalists + any(record.number == DEFAULT_TRIAL for record in finished) if finalists else 0
    final = max(known) if known else None
    as_exported = bool(best) and all(length_ratio(r.recipe or {}, spec.final) == 1.0 for r in best)
    share = confirmation_budget(search_seconds, spec.confirm.share) - sum(record.seconds for record in confirmations)
    return Costs(
        workers=max(1, workers),
        trial=trial,
        final=final,
        finished=bool(finished),
        under_way=0.0 if trial is not None else under_way,
        contenders=contenders,
        confirmation=max(0.0, min(share, contenders * spec.confirm.rounds * (final or 0.0))),
        # A trial as long as the export is one of its trainings too, as a confirmation is. Where its networks are gone
        # nevertheless, the provisional submission is what there is in time.
        refits=spec.final.seeds - (1 if kept and (contenders or as_exported) else 0),
    )


def is_time_for_trial(costs: Costs, *, now: float, deadline: float) -> bool:
    """Whether a trial begun at ``now`` (Unix seconds, as ``deadline``) would end early enough for all that follows.

    Before any has ended, those under way have not ended in the time since they began: so much another one takes at
    least, and so much its refits. With none under way nothing is known, and the deadline itself decides.
    """
    if costs.trial is None:
        return now + costs.under_way * (1 + wall_seconds(costs.refits, 1.0, costs.workers)) < deadline
    return now + MARGIN * costs.trial + costs.confirmation_wall + costs.refit_wall <= deadline


def confirmations_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """How many confirmations begun at ``now`` would end early enough for the refits."""
    return _fitting(costs, deadline - now - costs.refit_wall)


def refits_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """How many refits begun at ``now`` would end before the deadline, export included, 0 or more: of how many recipes
    and seeds is up to who exports.
    """
    return _fitting(costs, deadline - now - EXPORT_SECONDS)


def latest_end(costs: Costs, kind: WorkKind, *, deadline: float, final: float) -> float:
    """By when a training under way has to end (Unix seconds) so that there is time for what follows: of a trial the
    least confirmation and the refits, of a confirmation the refits.

    Refits are let end. So is every trial while none has finished: without one there is nothing to export at all.

    Args:
        final: seconds that its recipe takes at the length at which it would be exported.
    """
    if kind is WorkKind.REFIT or (kind is WorkKind.SEARCH and not costs.finished):
        return math.inf
    own = MARGIN * wall_seconds(costs.refits, final, costs.workers) + EXPORT_SECONDS
    confirmation = costs.least_confirmation_wall if kind is WorkKind.SEARCH else 0.0
    return deadline - max(own, costs.refit_wall) - confirmation


def _fitting(costs: Costs, seconds: float) -> int:
    """How many trainings of `Costs.final` fit into ``seconds`` of all workers."""
    if not costs.final:
        return 0
    return max(0, math.floor(seconds / (MARGIN * costs.final))) * costs.workers
