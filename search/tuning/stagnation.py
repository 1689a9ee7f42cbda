"""Early stopping of a search whose latest trials gain no more than noise (``patience`` in ``[search]``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search.statistics.paired_gain import paired_gain, shown_gain
from search.statistics.ranking import rank
from search.study_state.search_trials import candidates
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_targets
from search.tuning.pruners import make_promotion
from storage.stores import Stores
from storage.values import StudyState, TrialRecord, WorkKind


def stop_if_stagnant(stores: Stores, name: str) -> None:
    """Stop the study called ``name`` if its last ``patience`` trials gained nothing beyond noise.

    Only trials since the study was last started or resumed count. As long as a paused trial can be promoted, the study
    goes on.
    """
    study = read_study(stores, name)
    patience = study.spec.search_settings.patience
    if not patience or study.state is not StudyState.RUNNING:
        return
    ended = [r for r in stores.trials.records(study.id, kind=WorkKind.SEARCH) if r.counts]
    # A paused trial counts like a pruned one.
    records = sorted([*ended, *stores.trials.paused(study.id)], key=lambda record: record.id)
    if sum(record.finished >= study.begun for record in records) < patience:
        return
    reason = why_stagnant(stores, study, records)
    if reason and not _can_promote(stores, study):
        stores.studies.set_state(study.id, StudyState.STOPPED, reason)


def _can_promote(stores: Stores, study: Study) -> bool:
    rule = make_promotion(study.spec.search_settings)
    if rule is None:
        return False
    trials = stores.queue.rung_values(study.id)
    return rule.choose(trials, {trial.home for trial in trials}) is not None


def why_stagnant(stores: Stores, study: Study, records: Sequence[TrialRecord]) -> str:
    """The reason, for people, why the search has stagnated; empty if it has not.

    The best trial is compared, image by image, with the one that was best ``patience`` trials ago, both as
    averages of their fold models. Selection on the same images favours the later one, which is the best of more trials.
    If it is not better by more than noise nevertheless, the search has stagnated.

    Args:
        records: trials that count against the budget, in the order in which they ended.
    """
    patience, metric = study.spec.search_settings.patience, study.metric
    ranking, earlier_ranking = (rank(candidates(part, metric)) for part in (records, records[:-patience]))
    if not earlier_ranking:
        return ""
    best, earlier_best = ranking[0], earlier_ranking[0]
    if best.number == earlier_best.number:
        return f"the last {patience} trials found nothing better than trial {earlier_best.number}"
    by_number = {record.number: record for record in records}
    new, old = (stores.trials.prediction(by_number[c.number].id, "oof") for c in (best, earlier_best))
    single_gain = paired_gain(metric, read_targets(stores, study), new, old)
    averaging_gains = [candidate.averaged - candidate.value for candidate in (best, earlier_best)]
    gain = replace(single_gain, mean=single_gain.mean + averaging_gains[0] - averaging_gains[1])
    if gain.real:
        return ""
    found = f"trial {best.number} gains {shown_gain(gain, metric)} over trial {earlier_best.number}"
    return f"the last {patience} trials found nothing better beyond noise: {found}"
