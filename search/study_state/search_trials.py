"""The search trials that have ended, and the scores by which they are compared."""

from __future__ import annotations

from collections.abc import Sequence

from search.statistics.ranking import Candidate, averaging_gain, objective
from storage.values import TrialRecord, TrialStatus, recipe_hash
from trainer.recipe.recipe import LINEAR_PROBE


def candidates(records: Sequence[TrialRecord], metric: str) -> list[Candidate]:
    """The finished trials among ``records``, as `search.statistics.ranking` takes them.

    Args:
        metric: name of the study's metric.
    """
    finished = [r for r in records if r.status is TrialStatus.FINISHED and r.number is not None and r.value is not None]
    return [_candidate(r, metric) for r in finished]


def lasting_failures(records: Sequence[TrialRecord], *, diverged: bool = False) -> list[TrialRecord]:
    """The last failure of each recipe that has not finished; a retry is a trial of its own with the same recipe.

    Args:
        records: in the order in which they ended.
        diverged: whether a training that diverged counts as failed.
    """
    kinds = (TrialStatus.FAILED, TrialStatus.DIVERGED) if diverged else (TrialStatus.FAILED,)
    finished = (record.recipe for record in records if record.status is TrialStatus.FINISHED)
    known = {recipe_hash(recipe) for recipe in finished if recipe is not None}
    failed: list[TrialRecord] = []
    for record in reversed(records):
        if record.status not in kinds:
            continue
        recipe = None if record.recipe is None else recipe_hash(record.recipe)
        if recipe not in known:
            failed.append(record)
            known |= set() if recipe is None else {recipe}
    return failed[::-1]


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
    """Objective of a finished trial, see `search.statistics.ranking.objective`."""
    assert record.value is not None and record.brier is not None
    return objective(metric, averaged_score(record, metric), record.brier)


def averaged_score(record: TrialRecord, metric: str) -> float:
    """Expected metric of the average of a finished trial's fold models."""
    assert record.value is not None
    return record.value + averaging_gain_of(record, metric)


def averaging_gain_of(record: TrialRecord, metric: str) -> float:
    """Expected gain in the metric from averaging the fold models of a finished training.

    Args:
        record: of a training that held images out, so that it has scores.
    """
    assert record.value is not None and record.brier is not None and record.ambiguity is not None
    is_probe = (record.recipe or {}).get("method") == LINEAR_PROBE
    return averaging_gain(metric, record.value, record.brier, record.ambiguity, is_probe=is_probe)
