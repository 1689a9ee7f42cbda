"""Which trainings still fit before a study's deadline, by the training times in the database."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.runtime.heartbeat import processes_present
from search.statistics.ranking import rank
from search.study_state.confirmation_schedule import confirmation_budget, finalist_count
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.study_state.time_budget import (
    Costs,
    confirmations_in_time,
    export_seconds,
    is_time_for_trial,
    measure_costs,
    refits_in_time,
)
from search.study_state.training_costs import (
    device_of,
    finished_probes,
    full_training_seconds,
    is_fine_tuned,
    length_ratio,
    probed_sizes,
    upper_quantile,
    wall_seconds,
)
from storage.queue.items import WaitingItem
from storage.records.workers import Role, WorkerRecord
from storage.stores import Stores
from storage.values import (
    DEFAULT_TRIAL,
    GIVEN_UP_NOTE,
    PREDICTED_NOTE,
    TOO_LATE_NOTE,
    TrialRecord,
    TrialStatus,
    WorkKind,
)
from studies.spec import StudySpec

GIVE_UPS = 3
SETTLED = 10.0
"""Seconds after which no other worker takes what one has given up: each looks at the queue every few seconds."""


@dataclass(frozen=True, kw_only=True)
class EndedTrainings:
    """The trainings of a study that have ended, from which costs are predicted, in the order in which they ended."""

    trials: tuple[TrialRecord, ...] = ()
    confirmations: tuple[TrialRecord, ...] = ()
    paused: tuple[TrialRecord, ...] = ()
    """The outcomes so far of the paused trials, which have cost as much time as pruned ones."""

    @property
    def measured(self) -> tuple[TrialRecord, ...]:
        """All trainings whose times are known."""
        return (*self.trials, *self.paused, *self.confirmations)


def read_ended(stores: Stores, study_id: int, before: EndedTrainings | None = None) -> EndedTrainings:
    """Read the ended trials and confirmations of a study, and its paused trials.

    Args:
        before: an earlier result. Its parts are returned again as long as their number is the same, because outcomes of
            these kinds are hardly ever removed.
    """
    before = before or EndedTrainings()

    def read(kind: WorkKind, known: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
        if stores.trials.count(study_id, kind) == len(known):
            return known
        return tuple(stores.trials.records(study_id, kind=kind))

    return EndedTrainings(
        trials=read(WorkKind.SEARCH, before.trials),
        confirmations=read(WorkKind.CONFIRM, before.confirmations),
        paused=tuple(stores.trials.paused(study_id)),
    )


def kinds_in_time(
    stores: Stores, study: Study, ended: EndedTrainings | None = None, device: str | None = None
) -> tuple[bool, bool]:
    """Whether another trial, and whether another confirmation, could end early enough before the study's deadline.

    Args:
        ended, device: as `read_costs`.
    """
    if study.deadline is None:
        return True, True
    ended = read_ended(stores, study.id) if ended is None else ended
    costs, now = read_costs(stores, study, ended, device), stores.database.now()
    return (
        is_time_for_trial(costs, now=now, deadline=study.deadline)
        and not _are_given_up(stores, study, costs, ended=len(ended.trials), now=now),
        confirmations_in_time(costs, now=now, deadline=study.deadline) > 0,
    )


def most_give_ups(costs: Costs) -> int:
    """Trials that a worker gives up one after another before it begins no more. A recipe may be slower than most."""
    return GIVE_UPS if costs.finished else 1


def _are_given_up(stores: Stores, study: Study, costs: Costs, *, ended: int, now: float) -> bool:
    """Whether workers have given up as many trials as they try since the last one ended, and none has taken them since.

    Only a worker knows how long the next trial takes on its machine.

    Args:
        ended: number of ended trials.
        now: Unix seconds.
    """
    waiting, released = stores.queue.waiting(study.id, WorkKind.SEARCH), []
    for item in waiting:
        match _too_late(item):
            case (deadline, moment, count) if (deadline, count) == (study.deadline, ended):
                released.append(moment)
    if not released or now - max(released) <= SETTLED:
        return False
    is_last = len(released) == len(waiting) and not stores.queue.may_begin(study.id)
    return is_last or len(released) >= most_give_ups(costs)


def given_up_trials(stores: Stores, study: Study) -> dict[int, str]:
    """Why workers have given up trials for the present deadline of a study, for people, by trial number."""
    return {
        item.trial_number: str(item.note.get(GIVEN_UP_NOTE, ""))
        for item in stores.queue.waiting(study.id, WorkKind.SEARCH)
        if item.trial_number is not None and (late := _too_late(item)) and late[0] == study.deadline
    }


def _too_late(item: WaitingItem) -> tuple[float, float, int] | None:
    """The values of `TOO_LATE_NOTE` of a trial; None if it was not given up."""
    match item.note.get(TOO_LATE_NOTE):
        case [float(deadline), float(moment), int(ended)]:
            return deadline, moment, ended
    return None


def probes_end(study: Study) -> float:
    """When the probes of a study with a deadline have had their share of its time (`[probe] share`), Unix seconds."""
    assert study.deadline is not None, "without a deadline there is no share"
    return study.period_began + study.spec.probe.share * (study.deadline - study.period_began)


def latest_probe_end(study: Study, ended: Sequence[TrialRecord], backbone: str, image_size: int) -> float:
    """When a probe of a study with a deadline has to end, Unix seconds.

    Probes end within their share of the time. Two kinds only leave time for the export: those of a study without
    trials, and the best-probed backbone on larger images than before, which costs less than an epoch of training and
    often gains more.

    Args:
        ended: ended trials, among them the probes.
    """
    assert study.deadline is not None, "without a deadline there is no end"
    latest = study.deadline - export_seconds(study.deadline - study.period_began)
    probes = finished_probes(ended)
    best = max(probes, key=lambda record: record.mean_true_probability or 0.0, default=None)
    is_best = best is not None and (best.recipe or {})["backbone"] == backbone
    if study.budget == 0 or (is_best and image_size > max(probed_sizes(probes, backbone))):
        return latest
    return min(latest, probes_end(study))


def refits_before_deadline(stores: Stores, study: Study) -> int | None:
    """Number of refits that would end before the study's deadline if they began now; None without a deadline.

    Each refit is one training: one recipe with one seed.
    """
    study = read_study(stores, study.name)
    if study.deadline is None:
        return None
    return refits_in_time(read_costs(stores, study), now=stores.database.now(), deadline=study.deadline)


def read_costs(stores: Stores, study: Study, ended: EndedTrainings | None = None, device: str | None = None) -> Costs:
    """Training times of a study and the trainings that are left, by the ended trainings and the live workers.

    Args:
        ended: all ended trainings of the study; None: read from the database.
        device: of the worker that asks (`training_costs.device_of`); None: the fastest among the live workers.
    """
    if ended is None:
        ended = read_ended(stores, study.id)
    records = (*ended.trials, *ended.paused)
    present = processes_present(stores.workers, study.id)
    workers = [process for process in present if process.role is Role.WORKER]
    homes = {process.home for process in present}
    # Without any process, as after an interruption, the study goes on with the command that made it: in one home.
    kept = len(homes) <= 1 and None not in homes
    confirm = study.spec.confirm
    finalists = finalist_count(sum(record.counts for record in records), confirm)
    if not kept and confirm.rounds:
        # The export needs a refit, and later trials bring further finalists: the plan allows for the slowest of all.
        finalists = confirm.finalists
    ranking = [candidate.number for candidate in rank(candidates(records, study.metric))]
    exportable = {DEFAULT_TRIAL, *ranking[: max(1, finalists)]}
    supervisors = {process.home for process in present if process.role is Role.SUPERVISOR}
    return measure_costs(
        study.spec,
        records,
        [record for record in records if record.status is TrialStatus.FINISHED and record.number in exportable],
        ended.confirmations,
        workers=len(workers),
        # The export collects networks in the home of the process that writes it.
        workers_here=sum(process.home in supervisors for process in workers) if supervisors else None,
        kept=kept,
        period=study.deadline - study.period_began if study.deadline is not None else float("inf"),
        device=device or _fastest_device(records, workers),
        rehearsed=_rehearsed_seconds(stores, study) if not any(map(is_fine_tuned, records)) else None,
    )


@dataclass(frozen=True, kw_only=True)
class ExpectedEnd:
    """When a study without a deadline is expected to end, Unix seconds."""

    search: float
    export: float
    confirmed: bool
    """Whether finalists are confirmed in between."""
    refits: int
    """Further trainings of the exported recipe; as many of each further recipe, if several are blended."""


def expected_end(
    spec: StudySpec, costs: Costs, ended: EndedTrainings, *, left: int, counted: int, now: float
) -> ExpectedEnd | None:
    """The expected end of a study without a deadline; None before a training is rehearsed or has ended.

    Args:
        costs: from `read_costs`.
        left: number of trials that are left.
        counted: number of trials of the study in the end.
    """
    seconds = costs.mean_trial or costs.rehearsed
    if not seconds:
        return None
    search = wall_seconds(left, seconds, costs.workers)
    trained = sum(record.cost for record in (*ended.trials, *ended.paused) if is_fine_tuned(record)) + left * seconds
    finalists = finalist_count(counted, spec.confirm)
    ratio = length_ratio(spec.default_recipe(), spec.final)
    final = max(costs.final or 0.0, ratio * seconds)  # before the first trial has ended, the former is that of a probe
    confirmation = min(
        confirmation_budget(trained, spec.confirm.share), (finalists + 1) * spec.confirm.rounds * final
    ) * (finalists > 0)
    # A confirmation is a training of the export as well, and so is a trial of the exported length.
    done = 1 if not costs.needed_refits and (finalists or ratio == 1.0) else 0
    refits = spec.final.seeds - done
    end = now + search
    return ExpectedEnd(
        search=end,
        export=end + confirmation / costs.workers + wall_seconds(refits, final, costs.workers_here) + costs.export,
        confirmed=finalists > 0,
        refits=refits,
    )


def _rehearsed_seconds(stores: Stores, study: Study) -> float | None:
    """The longest of the rehearsed seconds of the trainings under way; None if none is rehearsed."""
    notes = [item.note.get(PREDICTED_NOTE) for item in stores.queue.held(study.id) if item.kind is WorkKind.SEARCH]
    return max((float(note) for note in notes if isinstance(note, int | float) and 0.0 < note < math.inf), default=None)


def _fastest_device(records: Sequence[TrialRecord], workers: Sequence[WorkerRecord]) -> str | None:
    """The device on which the live workers train fastest; None if none of them has ended a training."""
    names = {worker.name for worker in workers}
    devices = {device_of(record.machine) for record in records if record.worker in names}

    def seconds(device: str) -> float:
        return upper_quantile(full_training_seconds(records, device)) or float("inf")

    return min(devices, key=seconds, default=None)
