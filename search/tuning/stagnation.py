"""When a search stops by itself because further trials gain less than the noise (``search.patience``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search.statistics.paired_gain import paired_gain, shown_gain
from search.statistics.ranking import rank
from search.study_state.snapshot import candidates
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_targets
from storage.stores import Stores
from storage.values import StudyState, TrialRecord, WorkKind


def stop_if_stalled(stores: Stores, name: str) -> None:
    """Stop the study called ``name`` if its last ``search.patience`` trials, counted from when a person last set it
    going, gained nothing beyond noise.
    """
    study = read_study(stores, name)
    patience = study.spec.search_settings.patience
    if not patience or study.state is not StudyState.RUNNING:
        return
    records = [r for r in stores.trials.records(study.id, kind=WorkKind.SEARCH) if r.counts]
    if sum(record.finished >= study.begun for record in records) < patience:
        return
    reason = why_stalled(stores, study, records)
    if reason:
        stores.studies.set_state(study.id, StudyState.STOPPED, reason)


def why_stalled(stores: Stores, study: Study, records: Sequence[TrialRecord]) -> str:
    """Why further trials are not worth their while, for people; empty where they may be.

    The best trial is compared, image by image, with the one that was best ``search.patience`` trials ago, both as
    averages of their fold models. Both were chosen on these images, the later one from more; if even so it is not
    better by more than noise, the search goes nowhere.

    Args:
        records: trials that count, in the order in which they ended.
    """
    patience, metric = study.spec.search_settings.patience, study.metric
    ranking, before = (rank(candidates(part, metric)) for part in (records, records[:-patience]))
    if not before:
        return ""
    best, was = ranking[0].number, before[0].number
    if best == was:
        return f"the last {patience} trials found nothing better than trial {was}"
    by_number = {record.number: record for record in records}
    new, old = (stores.trials.prediction(by_number[number].id, "oof") for number in (best, was))
    of_one = paired_gain(metric, read_targets(stores, study), new, old)
    added = [candidate.averaged - candidate.value for candidate in (ranking[0], before[0])]
    gain = replace(of_one, mean=of_one.mean + added[0] - added[1])
    if gain.real:
        return ""
    found = f"trial {best} gains {shown_gain(gain, metric)} over trial {was}"
    return f"the last {patience} trials found nothing better beyond noise: {found}"
