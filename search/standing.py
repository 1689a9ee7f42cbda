"""How a study stands, read from the database: what the progress line, ``status`` and the ranking show."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from search.deadline import is_time_for_another
from search.ledger import Ledger
from search.presence import SEEN_WITHIN
from search.selection import Candidate, rank
from storage.stored_studies import StoredStudy
from storage.values import StudyState, TrialRecord, TrialStatus, WorkKind, WorkState
from storage.workers import Role


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A study at one moment. Counts are of search trials."""

    study: StoredStudy
    metric: str
    records: tuple[TrialRecord, ...]
    """Outcomes of search trials, in the order in which they ended."""
    running: int
    waiting: int
    """Begun and handed back or lost; the next worker goes on with them."""
    in_time: bool
    """Whether another trial could still end before the deadline."""
    refits_done: int
    refits_open: int
    workers: int
    homes: frozenset[str | None]
    """Where these workers keep weights."""
    supervisors: int
    """Processes that wait for the study to end, and export it then."""

    @property
    def paused(self) -> bool:
        """Whether nothing is handed out until `search resume`."""
        return self.study.state is StudyState.PAUSED

    def count(self, status: TrialStatus) -> int:
        """Search trials that ended so."""
        return sum(record.status is status for record in self.records)

    @property
    def counted(self) -> int:
        """Trials that count against the budget and have ended."""
        return len(self.records) - self.count(TrialStatus.FAILED)

    @property
    def ranking(self) -> list[Candidate]:
        """Finished trials, the best first."""
        return rank(candidates(self.records))

    def seconds_left(self) -> float | None:
        """Estimate for the rest of the search; None before the first trial has ended, or without a budget."""
        ended = [record.seconds for record in self.records if record.status is not TrialStatus.FAILED]
        if not ended or self.study.budget is None:
            return None
        left = max(0, self.study.budget - self.counted)
        return left * statistics.mean(ended) / max(1, self.running, self.workers)


def candidates(records: Sequence[TrialRecord]) -> list[Candidate]:
    """The finished trials among ``records``, as selection wants them."""
    return [
        Candidate(number=r.number, value=r.value, standard_error=r.value_se or 0.0, soft=r.soft or 0.0)
        for r in records
        if r.status is TrialStatus.FINISHED and r.number is not None and r.value is not None
    ]


def read_standing(ledger: Ledger, name: str, before: Standing | None = None) -> Standing:
    """How the study called ``name`` stands now.

    Args:
        before: an earlier answer, whose records are used again while no further trial has ended.

    Raises:
        UnknownStudyError: there is no such study.
    """
    study = ledger.studies.get(name)
    counts = ledger.queue.counts(study.id)
    trials, refits = counts[WorkKind.SEARCH], counts[WorkKind.REFIT]
    if before is not None and ledger.runs.count(study.id, WorkKind.SEARCH) == len(before.records):
        records = before.records
    else:
        records = tuple(ledger.runs.records(study.id, kind=WorkKind.SEARCH))
    finished = [record.seconds for record in records if record.status is TrialStatus.FINISHED]
    mean = statistics.mean(finished) if finished else None
    present = [process for process in ledger.workers.alive(SEEN_WITHIN) if process.study_id in (study.id, None)]
    workers = [process for process in present if process.role is Role.WORKER]
    return Standing(
        study=study,
        metric=study.spec["protocol"]["metric"],
        records=records,
        in_time=is_time_for_another(study, mean, ledger.database.now()),
        running=trials[WorkState.LEASED],
        waiting=trials[WorkState.QUEUED],
        refits_done=refits[WorkState.STORED],
        refits_open=refits[WorkState.QUEUED] + refits[WorkState.LEASED],
        workers=len(workers),
        homes=frozenset(process.home for process in workers),
        supervisors=sum(process.role is Role.SUPERVISOR for process in present),
    )
