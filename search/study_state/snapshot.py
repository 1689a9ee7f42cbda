"""A study at one moment, read from the database: its counts, trials and workers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from search.runtime.heartbeat import processes_present
from search.statistics.member_names import MemberName
from search.statistics.ranking import Candidate, rank
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.study_state.time_left import EndedTrainings, kinds_in_time, read_ended
from storage.records.workers import Role
from storage.stores import Stores
from storage.values import StudyState, TrialRecord, TrialStatus, WorkKind, WorkState


@dataclass(frozen=True, kw_only=True)
class StudySnapshot:
    """A study at one moment. Counts are of search trials, unless their name says otherwise."""

    study: Study
    metric: str
    ended: EndedTrainings
    running: int
    """Trials that a worker holds."""
    waiting: int
    """Trials that have begun but that no worker holds. The next worker continues them."""
    trials_paused: int
    """Trials that wait at a rung until they are promoted or end as pruned."""
    probes_planned: int
    """Probes with which the study begins, without those that were cancelled."""
    probes_waiting: int
    """Probes among them that no worker has begun."""
    in_time_for_trial: bool
    """Whether another trial could end early enough for confirmation, refits and export before the deadline."""
    confirms_done: int
    confirms_running: int
    confirms_waiting: int
    in_time_to_confirm: bool
    """Whether another confirmation could end early enough for refits and export before the deadline."""
    refits_done: int
    refits_open: int
    workers: int
    """Live workers of the study."""
    seconds_to_deadline: float | None = None
    """Below 0 after the deadline; None without one."""
    homes: frozenset[str | None]
    """Identities of the home folders in which these workers keep weights (`search.runtime.home.Home.identity`)."""

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Outcomes of search trials, in the order in which they ended."""
        return self.ended.trials

    @property
    def paused(self) -> bool:
        """Whether no work is given to workers until ``search resume``."""
        return self.study.state is StudyState.PAUSED

    def count(self, status: TrialStatus) -> int:
        """Number of search trials that ended with this status."""
        return sum(record.status is status for record in self.records)

    @property
    def confirms_open(self) -> int:
        """Number of queued and running confirmations."""
        return self.confirms_running + self.confirms_waiting

    @property
    def counted(self) -> int:
        """Number of ended trials that count against the budget."""
        return sum(record.counts for record in self.records)

    @property
    def probes_ended(self) -> int:
        """Number of probes that have ended, failed ones included."""
        return sum(record.is_probe for record in self.records)

    @property
    def ranking(self) -> list[Candidate]:
        """Finished trials, the best first."""
        return rank(candidates(self.records, self.metric))

    def name_of(self, number: int) -> str:
        """The name of an ended trial or probe, such as ``probe 3``."""
        is_probe = any(record.is_probe for record in self.records if record.number == number)
        return str(MemberName(trial=number, is_probe=is_probe))

    def seconds_left(self) -> float | None:
        """Estimated seconds until the end of the search, at most those until the deadline.

        None before the first trial has ended, without a budget, or after the search was stopped.
        """
        ended = [record.cost for record in self.records if record.counts]
        if not ended or self.study.budget is None or self.study.state is StudyState.STOPPED:
            return None
        left = max(0, self.study.budget - self.counted - self.trials_paused)
        seconds = left * statistics.mean(ended) / max(1, self.running, self.workers)
        return seconds if self.seconds_to_deadline is None else max(0.0, min(seconds, self.seconds_to_deadline))


def read_snapshot(stores: Stores, name: str, before: StudySnapshot | None = None) -> StudySnapshot:
    """Read the present state of the study called ``name``.

    Args:
        before: an earlier snapshot; its records are used again if no further trial has ended.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = read_study(stores, name)
    # First, because a probe that begins in between would count neither as waiting nor as running.
    probes_planned, probes_waiting = stores.queue.probes(study.id)
    counts = stores.queue.counts(study.id)
    trials, confirms, refits = (counts[kind] for kind in WorkKind)
    ended = read_ended(stores, study.id, None if before is None else before.ended)
    present = processes_present(stores.workers, study.id)
    workers = [process for process in present if process.role is Role.WORKER]
    in_time_for_trial, in_time_to_confirm = kinds_in_time(stores, study, ended)
    return StudySnapshot(
        study=study,
        metric=study.metric,
        ended=ended,
        in_time_for_trial=in_time_for_trial,
        running=trials[WorkState.LEASED],
        waiting=trials[WorkState.QUEUED],
        trials_paused=len(ended.paused),
        probes_planned=probes_planned,
        probes_waiting=probes_waiting,
        confirms_done=confirms[WorkState.STORED],
        confirms_running=confirms[WorkState.LEASED],
        confirms_waiting=confirms[WorkState.QUEUED],
        in_time_to_confirm=in_time_to_confirm,
        refits_done=refits[WorkState.STORED],
        refits_open=refits[WorkState.QUEUED] + refits[WorkState.LEASED],
        workers=len(workers),
        seconds_to_deadline=None if study.deadline is None else study.deadline - stores.database.now(),
        homes=frozenset(process.home for process in workers),
    )
