"""Candidates for a review: labels that the averaged out-of-fold predictions of a study contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.runtime.errors import SearchError
from search.study_state.study import Study
from search.study_state.study_targets import read_folds
from storage.records.datasets import StoredDataset
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, TrialRecord, TrialStatus, WorkKind
from trainer.common.arrays import Float32Array
from trainer.evaluation.label_errors.one_label import LabelErrors, find_label_errors
from trainer.evaluation.several_labels import has_several
from trainer.formats.label_tables import Correction, ReviewRow
from trainer.probing.judge_labels import is_informative

MOST_TRIALS = 20
"""Trials and probes that are averaged, those with the highest mean probability of the label. Further ones add little,
and the worst recipes of a long search would add noise."""


class NothingToJudge(SearchError):
    """The labels of a study cannot be judged; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The suspicious labels of a study."""

    study: Study
    dataset: StoredDataset
    averaged: tuple[TrialRecord, ...]
    """Trials and probes whose predictions are averaged, the best first."""
    errors: LabelErrors
    """The candidates, the least probable label first."""
    accuracy: float
    """Share of the judged images whose label is the most probable class, 0 .. 1."""

    @property
    def expected(self) -> int:
        """Expected number of wrong labels among the judged images."""
        return round(self.errors.expected_share * self.errors.judged)

    def rows(self) -> list[ReviewRow]:
        """The candidates as rows of a review, not decided."""
        names, ids, y, found = self.dataset.class_names, self.dataset.train_ids, self.dataset.y, self.errors
        return [
            ReviewRow(
                id=ids[row],
                given=names[y[row]],
                proposed=names[suggested],
                confidence=f"{confidence:.4f}",
                decision="",
            )
            for row, suggested, confidence in zip(found.rows, found.suggested, found.suggested_proba, strict=True)
        ]

    def without(self, corrections: Sequence[Correction]) -> Candidates:
        """The candidates about whose labels ``corrections`` have not decided yet."""
        decided = {(each.id, label) for each in corrections for label in (each.given, each.label)}
        open_ones = [i for i, row in enumerate(self.rows()) if (row.id, row.given) not in decided]
        found = self.errors
        return replace(
            self,
            errors=replace(
                found,
                rows=found.rows[open_ones],
                suggested=found.suggested[open_ones],
                label_proba=found.label_proba[open_ones],
                suggested_proba=found.suggested_proba[open_ones],
            ),
        )


def find_candidates(stores: Stores, study: Study) -> Candidates:
    """Find labels that contradict the mean out-of-fold probabilities of the finished trials and probes.

    All of them predict an image by networks that did not see it, since the trials of a search share their folds. The
    rule is that of `trainer.evaluation.label_errors`. An image whose class no other fold holds is not judged.

    Raises:
        NothingToJudge: nothing has finished, or the predictions say nothing about the labels.
    """
    if study.is_second_stage:
        raise NothingToJudge(
            f"study {study.name} is a second stage, which has learned some classes alone, so it judges no labels: "
            f"`search labels --study {study.first}` judges them by the first"
        )
    dataset = stores.datasets.get(study.fingerprint)
    if has_several(dataset.y):
        raise NothingToJudge(
            f"the labels of study {study.name} are not judged, because an image may have several labels"
        )
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    if not records:
        raise NothingToJudge(
            f"study {study.name} has no finished trial or probe yet, so its labels cannot be judged: wait for the "
            "first, or begin with `search probe DATA`, which takes minutes"
        )
    best = sorted(records, key=lambda record: (-(record.mean_true_probability or 0.0), record.id))[:MOST_TRIALS]
    proba = _mean_proba(stores, best)
    folds, y = read_folds(stores, study, SEARCH_SPLIT), dataset.y
    for fold in np.unique(folds):
        held_out = np.flatnonzero(folds == fold)
        proba[held_out[~np.isin(y[held_out], y[folds != fold])]] = np.nan
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1))
    if not is_informative(y[judged], proba[judged]):
        raise NothingToJudge(
            f"the predictions of study {study.name} say no more about the labels than the class frequencies do, so "
            "they cannot judge them: wait for better trials, or give `search probe DATA --weights FOLDER` pre-trained "
            "weights"
        )
    return Candidates(
        study=study,
        dataset=dataset,
        averaged=tuple(best),
        errors=find_label_errors(y, proba),
        accuracy=float((proba[judged].argmax(axis=1) == y[judged]).mean()),
    )


def _mean_proba(stores: Stores, records: Sequence[TrialRecord]) -> Float32Array:
    """Mean out-of-fold probabilities: float32, shape (n, C)."""
    total = stores.trials.prediction(records[0].id, "oof").astype(np.float64)
    for record in records[1:]:
        total += stores.trials.prediction(record.id, "oof")
    mean: Float32Array = (total / len(records)).astype(np.float32)
    return mean
