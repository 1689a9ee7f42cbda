"""Division of the time until a deadline (``--hours``) among search, confirmation, refits and export, in this order.

Each stage ends early enough for the stages that follow, judged by the trainings of the study so far. A study may end
before its deadline but not after it. Pure functions; `search.study_state.time_left` reads their arguments.

Only the export is indispensable, because the networks of the best trials are kept. Refits get time as far as the share
of ``[final]`` and their expected gain allow (`search.statistics.expected_gain`): a longer first training of the winner,
then further seeds, each for as long as it gains more per second than another trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from search.statistics.expected_gain import gain_of_training, gain_of_trial
from search.study_state.confirmation_schedule import confirmation_budget, finalist_count
from search.study_state.search_trials import averaged_score, averaging_gain_of
from search.study_state.training_costs import (
    FROZEN,
    LEAST_PROBED_EPOCHS,
    LEAST_PROBED_SIDE,
    begins_at_probe,
    device_of,
    final_cost,
    frozen_share,
    full_training_seconds,
    is_fine_tuned,
    length,
    length_ratio,
    longest,
    may_freeze,
    passes,
    upper_quantile,
    wall_seconds,
)
from storage.values import DEFAULT_TRIAL, TrialRecord, TrialStatus, WorkKind
from studies.spec import StudySpec

MARGIN = 1.2
"""Factor on predicted training times, because trainings differ in length."""
SHORTENED_MARGIN = 1.1
"""Factor on the predicted time of a shortened trial. It is smaller than `MARGIN`, because a trial that turns out to be
slower ends with the epochs that it has.
"""
EXPORT_SECONDS = 20.0
"""Time reserved at the end for choosing the members, checking the model and writing the export."""
EXPORT_SHARE = 0.05
"""The same as a share of the time until the deadline; the larger of the two counts."""
LONGEST_EXPORT = 180.0
"""Largest `EXPORT_SHARE`, in seconds."""
LEAST_EXPORT = 0.5
"""Share of the time for the export that is left while nothing has finished: without a training there is no export."""
LEAST_LENGTH = 0.5
"""Least length of a shortened trial, relative to the longest finished one; length is epochs times pixels. A trial that
begins with a probe's classifier may be shorter.
"""

PLAIN_OVERHEAD = 0.5
"""Overhead of a shortened trial, which predicts a single test-time view, relative to that of other trials."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Predicted training times of a study, in seconds, and the trainings that are left."""

    workers: int
    workers_here: int = 1
    """Workers that share the home of the export; only these may refit."""
    trial: float | None = None
    """Predicted seconds of another trial, see `training_costs.QUANTILE`; None before any trial gives an estimate."""
    final: float | None = None
    """Predicted seconds of one training of the slowest recipe that may be exported, with its exported epochs and image
    size; None as for ``trial``.
    """
    shortest_trial: float = 0.0
    """The same for the shortest useful trial, see `LEAST_LENGTH`; 0 while none has finished."""
    rehearsed: float | None = None
    """Predicted seconds of the training under way, while no training has ended; None: nothing is predicted."""
    epoch: float = 0.0
    """Seconds of the longest epoch of the ended trials; 0 before the first."""
    mean_trial: float | None = None
    """Mean seconds of the ended trials, pruned ones included; None before the first."""
    finished: bool = False
    """Whether any trial has finished, so that there is something to export."""
    contenders: int = 0
    """Number of recipes that are confirmed; 0: too few trials have ended, or the study has no confirmation."""
    confirmation: float = 0.0
    """Training seconds left for confirmation, summed over workers."""
    refits: int = 1
    """Refits that the plan keeps time for."""
    needed_refits: int = 1
    """Refits without which there would be nothing to export: 0 or 1."""
    export: float = EXPORT_SECONDS
    """Seconds reserved for the export."""

    @property
    def kept_for_export(self) -> float:
        """Seconds before the deadline at which the training under way is abandoned for the export."""
        return self.export if self.finished else LEAST_EXPORT * self.export

    @property
    def refit_wall(self) -> float:
        """Wall-clock seconds from the end of the confirmation to the end of the export."""
        return MARGIN * wall_seconds(self.refits, self.final or 0.0, self.workers_here) + self.export

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
    workers_here: int | None = None,
    kept: bool = False,
    period: float = math.inf,
    device: str | None = None,
    rehearsed: float | None = None,
) -> Costs:
    """Predict the costs of a study from its ended trainings.

    Args:
        records: all search trials that have ended.
        best: the finished search trials whose recipes may be exported.
        confirmations: all confirmations that have ended.
        workers_here: workers that share the home of the export; None: all.
        kept: whether all workers keep their networks where the export will be made, so that the networks of an earlier
            training can replace a refit.
        period: seconds from the begin of the study to its deadline.
        device: of the worker that would train (`training_costs.device_of`); None: any.
        rehearsed: as `Costs.rehearsed`; None once a training has ended.
    """
    any_finished = any(record.status is TrialStatus.FINISHED for record in records)
    counted = sum(record.counts for record in records)
    # A linear probe costs a fraction of a training: it says nothing about the next one.
    records = [record for record in records if is_fine_tuned(record)]
    finished = [record for record in records if record.status is TrialStatus.FINISHED and record.recipe]
    trial = upper_quantile(full_training_seconds(records, device))
    # Any of the best may be exported, so the slowest of them counts.
    exportable = [final_cost(record, spec.final, records, device) for record in best if record.recipe]
    confirmed = [
        record.cost
        for record in confirmations
        if record.status is TrialStatus.FINISHED and device in (None, device_of(record.machine))
    ]
    known = [*exportable, *confirmed]
    if not known and finished:
        known = [upper_quantile([final_cost(record, spec.final, records, device) for record in finished]) or 0.0]
    if trial is not None and not known:
        known = [trial * length_ratio(spec.default_recipe(), spec.final)]
    finalists = finalist_count(counted, spec.confirm)
    search_seconds = sum(record.seconds for record in records) + (trial or 0.0)
    contenders = finalists + any(record.number == DEFAULT_TRIAL for record in finished) if finalists else 0
    final = max(known) if known else None
    as_exported = bool(best) and all(length_ratio(r.recipe or {}, spec.final) == 1.0 for r in best)
    budget = confirmation_budget(search_seconds, spec.confirm.share) - sum(record.seconds for record in confirmations)
    here = max(1, workers if workers_here is None else workers_here)
    # A confirmation is a training of the export as well, and so is a trial of the exported length.
    done = 1 if kept and (contenders or as_exported) else 0
    return Costs(
        workers=max(1, workers),
        workers_here=here,
        trial=trial,
        final=final,
        shortest_trial=_shortest_trial(finished, device),
        rehearsed=rehearsed,
        epoch=max((record.seconds / record.epochs_done for record in records if record.epochs_done), default=0.0),
        mean_trial=fmean(record.cost for record in records) if records else None,
        finished=any_finished,
        contenders=contenders,
        confirmation=max(0.0, min(budget, contenders * spec.confirm.rounds * (final or 0.0))),
        refits=_refits_in_plan(spec, records, final, done=done, kept=kept, period=period, workers=here),
        needed_refits=0 if kept else 1,
        export=export_seconds(period),
    )


def _shortest_trial(finished: Sequence[TrialRecord], device: str | None) -> float:
    """Predicted seconds of the shortest trial that is useful beside the ``finished`` ones."""
    own = [record for record in finished if device_of(record.machine) == device] or finished
    longest_one = longest(own)
    shortest = [
        record.seconds * _least_share(record.recipe or {}) + PLAIN_OVERHEAD * record.overhead
        for record in own
        if length(record.recipe or {}) == longest_one
    ]
    return upper_quantile(shortest) or 0.0


def _least_share(recipe: Mapping[str, Any]) -> float:
    """Length of the shortest useful training in place of a finished one, relative to that."""
    epochs = int(recipe["epochs"])
    if may_freeze(recipe):
        return passes(FROZEN) / passes(frozen_share(recipe)) / epochs
    if begins_at_probe(recipe):
        return LEAST_PROBED_SIDE**2 * min(LEAST_PROBED_EPOCHS, epochs) / epochs
    # Half of the epochs, rounded up, or a single epoch with half of the pixels.
    return math.ceil(LEAST_LENGTH * epochs) / epochs if epochs > 1 else LEAST_LENGTH


def export_seconds(period: float) -> float:
    """Seconds reserved for the export of a study whose deadline is ``period`` seconds after its begin."""
    return max(EXPORT_SECONDS, min(LONGEST_EXPORT, EXPORT_SHARE * period) if math.isfinite(period) else 0.0)


def _refits_in_plan(
    spec: StudySpec,
    records: Sequence[TrialRecord],
    final: float | None,
    *,
    done: int,
    kept: bool,
    period: float,
    workers: int,
) -> int:
    """How many refits the plan keeps time for: as many as the study wants, its share allows and their gain justifies.

    Args:
        done: trainings of the exported recipe that need no refit: 0 or 1.
    """
    wanted, needed = spec.final.seeds - done, 0 if kept else 1
    if not final:
        return max(wanted, needed)
    rounds = spec.final.share * period / (MARGIN * final)
    allowed = wanted if math.isinf(rounds) else min(wanted, math.floor(rounds) * workers)
    planned = min(allowed, 1 - done)  # longer than the trials, or with networks that no trial keeps
    trial_rate = _gain_rate_of_trials(spec.protocol.metric, records)
    within = _gain_within(spec.protocol.metric, records)
    while planned < allowed and gain_of_training(within, spec.protocol.folds, done + planned) >= trial_rate * final:
        planned += 1
    return max(planned, needed)


def _gain_rate_of_trials(metric: str, records: Sequence[TrialRecord]) -> float:
    """Expected gain from another trial for each second that a trial takes on average."""
    finished = [record for record in records if record.status is TrialStatus.FINISHED and record.value is not None]
    seconds = fmean(record.cost for record in records) if records else 0.0
    gain = gain_of_trial([averaged_score(r, metric) for r in finished], [r.value_se or 0.0 for r in finished])
    return gain / seconds if seconds > 0.0 else math.inf


def _gain_within(metric: str, records: Sequence[TrialRecord]) -> float:
    """Mean gain from averaging the fold models of a training; 0 before a trial has finished."""
    finished = [record for record in records if record.status is TrialStatus.FINISHED and record.value is not None]
    return fmean(averaging_gain_of(record, metric) for record in finished) if finished else 0.0


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The planned stages of a study with a deadline. Times are Unix seconds."""

    trials: int
    """Trials that are expected to end before the confirmation."""
    confirmation: float
    """Begin of the confirmation; that of the refits if there is none."""
    refits: float
    """Begin of the refits."""
    number_of_refits: int
    export: float
    """Begin of the export."""
    deadline: float


def outline(costs: Costs, *, now: float, deadline: float) -> Outline | None:
    """The plan of a study from ``now`` to its ``deadline``, Unix seconds; None before any trial gives an estimate."""
    seconds = costs.mean_trial or costs.rehearsed
    if not seconds:
        return None
    refits = max(now, deadline - costs.refit_wall)
    confirmation = max(now, refits - costs.confirmation_wall)
    return Outline(
        trials=max(0, math.floor((confirmation - now) * costs.workers / seconds)),
        confirmation=confirmation,
        refits=refits,
        number_of_refits=costs.refits,
        export=max(now, deadline - costs.export),
        deadline=deadline,
    )


def is_time_for_trial(costs: Costs, *, now: float, deadline: float) -> bool:
    """Whether a trial that begins at ``now`` would end early enough for confirmation, refits and export.

    It may be shortened, see `LEAST_LENGTH`. A first trial may begin until it would be abandoned at once: it is
    shortened to the time that is left.

    Args:
        now, deadline: Unix seconds.
    """
    if costs.trial is None:
        return now + costs.kept_for_export < deadline
    return now + SHORTENED_MARGIN * costs.shortest_trial + costs.confirmation_wall + costs.refit_wall <= deadline


def is_time_for_whole_trial(costs: Costs, *, now: float, deadline: float) -> bool:
    """As `is_time_for_trial`, for a trial that is not shortened; true before any trial gives an estimate."""
    return now + MARGIN * (costs.trial or 0.0) + costs.confirmation_wall + costs.refit_wall <= deadline


def confirmations_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """How many confirmations that begin at ``now`` would end early enough for refits and export, 0 or more."""
    return _trainings_within(costs, deadline - now - costs.refit_wall) * costs.workers


def refits_in_time(costs: Costs, *, now: float, deadline: float) -> int:
    """Number of refits that would end early enough for the export if they began at ``now``, 0 or more.

    The caller divides them among recipes and seeds.
    """
    return _trainings_within(costs, deadline - now - costs.export) * costs.workers_here


def latest_end(costs: Costs, kind: WorkKind, *, deadline: float, final_seconds: float) -> float:
    """Latest time (Unix seconds) at which a training may end so that the following stages fit.

    A trial leaves time for one round of confirmation and the planned refits, a confirmation for the refits, a refit for
    the export. While no trial has finished, a trial leaves time only for what an export cannot do without.

    Args:
        final_seconds: seconds of a training of its recipe with the epochs and the image size of the export.
    """
    if kind is WorkKind.REFIT:
        return deadline - costs.export
    if not costs.finished:
        return deadline - costs.export - MARGIN * costs.needed_refits * final_seconds
    own = MARGIN * wall_seconds(costs.refits, final_seconds, costs.workers_here) + costs.export
    latest = deadline - max(own, costs.refit_wall)
    if kind is not WorkKind.SEARCH:
        return latest
    # When this trial ends and raises the predicted costs, the trials of other workers run on to the end of an epoch.
    delay = costs.epoch if costs.needed_refits and costs.workers > 1 else 0.0
    return latest - costs.least_confirmation_wall - delay


def _trainings_within(costs: Costs, seconds: float) -> int:
    """How many trainings of `Costs.final` seconds one worker completes within ``seconds``."""
    if not costs.final:
        return 0
    return max(0, math.floor(seconds / (MARGIN * costs.final)))
