"""How a study stands, read from the database: what the progress line, ``status`` and the ranking show."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from search.runtime.heartbeat import SEEN_WITHIN
from search.statistics.ranking import Candidate, averaging_gain, objective, rank
from search.study_state.confirmation_schedule import finalist_count
from search.study_state.optuna_attributes import EPOCHS_ATTRIBUTE
from search.study_state.study import Study, read_study
from search.study_state.time_budget import (
    Costs,
    confirmations_in_time,
    is_time_for_trial,
    measure_costs,
    refits_in_time,
)
from search.study_state.training_costs import whole_seconds
from storage.queue.items import HeldItem
from storage.records.workers import Role, WorkerRecord
from storage.stores import Stores
from storage.values import DEFAULT_TRIAL, TRIAL_NOTE, StudyState, TrialRecord, TrialStatus, WorkKind, WorkState


@dataclass(frozen=True, kw_only=True)
class StudySnapshot:
    """A study at one moment. Counts are of search trials."""

    study: Study
    metric: str
    records: tuple[TrialRecord, ...]
    """Outcomes of search trials, in the order in which they ended."""
    running: int
    waiting: int
    """Begun and handed back or lost; the next worker goes on with them."""
    in_time: bool
    """Whether another trial could still end early enough for all that follows before the deadline."""
    confirms_done: int
    confirms_running: int
    confirms_waiting: int
    in_time_to_confirm: bool
    """Whether another confirmation could."""
    refits_done: int
    refits_open: int
    workers: int
    homes: frozenset[str | None]
    """Where these workers keep weights."""

    @property
    def paused(self) -> bool:
        """Whether nothing is handed out until `search resume`."""
        return self.study.state is StudyState.PAUSED

    def count(self, status: TrialStatus) -> int:
        """Search trials that ended so."""
        return sum(record.status is status for record in self.records)

    @property
    def confirms_open(self) -> int:
        """Confirmations that were asked for and have not ended."""
        return self.confirms_running + self.confirms_waiting

    @property
    def counted(self) -> int:
        """Trials that count against the budget and have ended."""
        return sum(record.counts for record in self.records)

    @property
    def ranking(self) -> list[Candidate]:
        """Finished trials, the best first."""
        return rank(candidates(self.records, self.metric))

    def seconds_left(self) -> float | None:
        """Estimate for the rest of the search; None before the first trial has ended, without a budget, or
        once it was stopped.
        """
        ended = [record.seconds for record in self.records if record.status is not TrialStatus.FAILED]
        if not ended or self.study.budget is None or self.study.state is StudyState.STOPPED:
            return None
        left = max(0, self.study.budget - self.counted)
        return left * statistics.mean(ended) / max(1, self.running, self.workers)


def candidates(records: Sequence[TrialRecord], metric: str) -> list[Candidate]:
    """The finished trials among ``records``, as selection wants them.

    Args:
        metric: of their study.
    """
    finished = [r for r in records if r.status is TrialStatus.FINISHED and r.number is not None and r.value is not None]
    return [_candidate(r, metric) for r in finished]


def _candidate(record: TrialRecord, metric: str) -> Candidate:
    assert record.number is not None and record.value is not None and record.brier is not None
    return Candidate(
        number=record.number,
        value=record.value,
        standard_error=record.value_se or 0.0,
        averaged=averaged_score(record, metric),
        brier=record.brier,
        objective=objective_of(record, metric),
    )


def objective_of(record: TrialRecord, metric: str) -> float:
    """Objective of a finished trial (`search.statistics.ranking.objective`)."""
    assert record.value is not None and record.brier is not None
    return objective(metric, averaged_score(record, metric), record.brier)


def averaged_score(record: TrialRecord, metric: str) -> float:
    """Expected metric of the average of a finished trial's fold models (`search.statistics.ranking`)."""
    assert record.value is not None
    return record.value + averaging_gain_of(record, metric)


def averaging_gain_of(record: TrialRecord, metric: str) -> float:
    """Expected gain in the metric from averaging the fold models of a finished training that held images out."""
    assert record.value is not None and record.brier is not None and record.ambiguity is not None
    return averaging_gain(metric, record.value, record.brier, record.ambiguity)


def read_snapshot(stores: Stores, name: str, before: StudySnapshot | None = None) -> StudySnapshot:
    """How the study called ``name`` stands now.

    Args:
        before: an earlier answer, whose records are used again while no further trial has ended.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = read_study(stores, name)
    counts = stores.queue.counts(study.id)
    trials, confirms, refits = (counts[kind] for kind in WorkKind)
    records = search_records(stores, study.id, () if before is None else before.records)
    present = present_at(stores, study)
    workers = [process for process in present if process.role is Role.WORKER]
    in_time, in_time_to_confirm = kinds_in_time(stores, study, records)
    return StudySnapshot(
        study=study,
        metric=study.metric,
        records=records,
        in_time=in_time,
        running=trials[WorkState.LEASED],
        waiting=trials[WorkState.QUEUED],
        confirms_done=confirms[WorkState.STORED],
        confirms_running=confirms[WorkState.LEASED],
        confirms_waiting=confirms[WorkState.QUEUED],
        in_time_to_confirm=in_time_to_confirm,
        refits_done=refits[WorkState.STORED],
        refits_open=refits[WorkState.QUEUED] + refits[WorkState.LEASED],
        workers=len(workers),
        homes=frozenset(process.home for process in workers),
    )


def search_records(stores: Stores, study_id: int, before: tuple[TrialRecord, ...] = ()) -> tuple[TrialRecord, ...]:
    """Outcomes of the search trials of a study, in the order in which they ended.

    Args:
        before: an earlier answer. Such outcomes are only ever added, so as long as there are as many, it still holds,
            and none is read.
    """
    if stores.trials.count(study_id, WorkKind.SEARCH) == len(before):
        return before
    return tuple(stores.trials.records(study_id, kind=WorkKind.SEARCH))


def present_at(stores: Stores, study: Study) -> list[WorkerRecord]:
    """The processes that work on the study, wait for it, or are free for any."""
    return [process for process in stores.workers.alive(SEEN_WITHIN) if process.study_id in (study.id, None)]


def kinds_in_time(stores: Stores, study: Study, records: Sequence[TrialRecord] | None = None) -> tuple[bool, bool]:
    """Whether another trial, and whether another confirmation, could end early enough before the study's deadline.

    Args:
        records: of all its search trials, where they are at hand.
    """
    if study.deadline is None:
        return True, True
    costs, now = read_costs(stores, study, records), stores.database.now()
    return (
        is_time_for_trial(costs, now=now, deadline=study.deadline),
        confirmations_in_time(costs, now=now, deadline=study.deadline) > 0,
    )


def read_costs(stores: Stores, study: Study, records: Sequence[TrialRecord] | None = None) -> Costs:
    """What the study's trainings take, by those that have ended and by who works; as `kinds_in_time`."""
    if records is None:
        records = search_records(stores, study.id)
    finalists = finalist_count(sum(record.counts for record in records), study.spec.confirm)
    ranking = [candidate.number for candidate in rank(candidates(records, study.metric))]
    exportable = {DEFAULT_TRIAL, *ranking[: max(1, finalists)]}
    # Once trials have ended, they tell more than for how long others have been under way.
    running = not whole_seconds(records) and any(i.kind is WorkKind.SEARCH for i in stores.queue.held(study.id))
    present = present_at(stores, study)
    homes = {process.home for process in present}
    return measure_costs(
        study.spec,
        records,
        [record for record in records if record.status is TrialStatus.FINISHED and record.number in exportable],
        stores.trials.records(study.id, kind=WorkKind.CONFIRM),
        workers=sum(process.role is Role.WORKER for process in present),
        kept=len(homes) == 1 and None not in homes,
        under_way=stores.database.now() - study.begun if running else 0.0,
    )


def search_is_over(snapshot: StudySnapshot) -> bool:
    """Whether no further trial will begin and none is under way. A paused search is not over: it waits."""
    study = snapshot.study
    if snapshot.running or snapshot.paused:
        return False
    if study.state is StudyState.STOPPED or not snapshot.in_time:
        return True
    return not snapshot.waiting and study.budget is not None and snapshot.counted >= study.budget


def refits_are_over(snapshot: StudySnapshot) -> bool:
    """Whether every refit that was asked for has ended."""
    return snapshot.refits_open == 0


def confirmation_at(item: HeldItem) -> str:
    """A confirmation for people: which trial's recipe, on which fresh split."""
    return f"trial {item.note.get(TRIAL_NOTE, '?')} on split {item.split}"


def what_runs(stores: Stores, snapshot: StudySnapshot) -> str:
    """The trials under way with their epochs, or the confirmations, or the refits."""
    if snapshot.refits_open:
        total = snapshot.refits_done + snapshot.refits_open
        return f"refit {snapshot.refits_done + 1} of {total}"
    if snapshot.confirms_open:
        total = snapshot.confirms_done + snapshot.confirms_open
        held = stores.queue.held(snapshot.study.id)
        at = [confirmation_at(item) for item in held if item.kind is WorkKind.CONFIRM]
        return f"confirming {snapshot.confirms_done + 1} of {total}" + (": " + ", ".join(at) if at else "")
    if not snapshot.running:
        return "workers are starting" if not snapshot.workers else ""
    trials = stores.optuna_study(snapshot.study.name).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return ", ".join(
        f"trial {t.number} epoch {(t.last_step or 0) + 1}/{t.user_attrs.get(EPOCHS_ATTRIBUTE, '?')}" for t in trials
    )


def confirmations_are_over(snapshot: StudySnapshot) -> bool:
    """Whether every confirmation that was asked for has ended, or no other can be begun in time."""
    if snapshot.paused and snapshot.confirms_open:
        return False
    return not snapshot.confirms_open or not (snapshot.confirms_running or snapshot.in_time_to_confirm)


def refits_before_deadline(stores: Stores, study: Study) -> int | None:
    """How many refits fit before the study's deadline, each of one recipe with one seed, begun now and together; 0 or
    more. None: there is no deadline.
    """
    study = read_study(stores, study.name)
    if study.deadline is None:
        return None
    return refits_in_time(read_costs(stores, study), now=stores.database.now(), deadline=study.deadline)
