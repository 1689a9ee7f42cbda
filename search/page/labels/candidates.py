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
from trainer.data.corrections.decided import decided_labels
from trainer.data.corrections.label_cells import LabelCells
from trainer.evaluation.label_errors.candidate import Candidate, of_one_label, of_several_labels
from trainer.evaluation.label_errors.one_label import find_label_errors
from trainer.evaluation.several_labels import Labels, has_several
from trainer.formats.label_tables import Correction, ReviewRow
from trainer.probing.judge_labels import CannotJudge, is_informative
from trainer.probing.judge_several_labels import judge_predictions

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
    candidates: tuple[Candidate, ...]
    """The images whose labels may be wrong, the least probable labels first."""
    judged: int
    """Number of images that were judged."""
    expected: int
    """Expected number of wrong labels among them; of several labels those that images have wrongly or lack wrongly."""
    too_many: bool
    """Whether so many are candidates that the predictions are rather at fault."""
    predicted: str
    """How far the predictions can be trusted: the end of a sentence on them, ``predict 97% of the labels``."""
    unjudged: tuple[str, ...] = ()
    """Names of the labels that the predictions cannot judge; empty where images have one label."""

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels."""
        return has_several(self.dataset.y)

    def rows(self, label_source: str = "") -> list[ReviewRow]:
        """The candidates as rows of a review, not decided.

        Args:
            label_source: what gave the labels (`trainer.data.image_set.ImageSet.label_source`); empty: not on record.
        """
        cells, ids, y = self._cells, self.dataset.train_ids, self.dataset.y
        return [
            ReviewRow(
                id=ids[each.row],
                given=cells.write(y[each.row]),
                proposed=cells.write(each.proposed_label),
                confidence=f"{each.confidence:.4f}",
                decision="",
                label_source=label_source,
            )
            for each in self.candidates
        ]

    def without(self, corrections: Sequence[Correction]) -> Candidates:
        """The candidates about whose labels ``corrections`` have not decided yet."""
        decided = decided_labels(corrections, self._cells)
        left = [
            each for each, row in zip(self.candidates, self.rows(), strict=True) if (row.id, row.given) not in decided
        ]
        return replace(self, candidates=tuple(left))

    @property
    def _cells(self) -> LabelCells:
        return LabelCells(class_names=self.dataset.class_names, several=self.several_labels)


def find_candidates(stores: Stores, study: Study) -> Candidates:
    """Find labels that contradict the mean out-of-fold probabilities of the finished trials and probes.

    All of them predict an image by networks that did not see it, since the trials of a search share their folds. The
    rules are those of `trainer.evaluation.label_errors`. An image whose class no other fold holds is not judged.

    Raises:
        NothingToJudge: nothing has finished, or the predictions say nothing about the labels.
    """
    if study.is_second_stage:
        raise NothingToJudge(
            f"study {study.name} is a second stage, which has learned some classes alone, so it judges no labels: "
            f"`search labels --study {study.first}` judges them by the first"
        )
    if study.is_pretraining:
        raise NothingToJudge(f"study {study.name} trains weights for others, and keeps no predictions of its images")
    dataset = stores.datasets.get(study.fingerprint)
    records = stores.trials.records(study.id, kind=WorkKind.SEARCH, status=TrialStatus.FINISHED)
    if not records:
        raise NothingToJudge(
            f"study {study.name} has no finished trial or probe yet, so its labels cannot be judged: wait for the "
            "first, or begin with `search probe DATA`, which takes minutes"
        )
    best = sorted(records, key=lambda record: (-(record.mean_true_probability or 0.0), record.id))[:MOST_TRIALS]
    proba = _mean_proba(stores, best)
    judge = _judge_several if has_several(dataset.y) else _judge_one
    return judge(study, dataset, tuple(best), proba, read_folds(stores, study, SEARCH_SPLIT))


def _judge_one(
    study: Study, dataset: StoredDataset, averaged: tuple[TrialRecord, ...], proba: Float32Array, folds: Labels
) -> Candidates:
    """The candidates among images with one label each."""
    y = dataset.y
    for fold in np.unique(folds):
        held_out = np.flatnonzero(folds == fold)
        proba[held_out[~np.isin(y[held_out], y[folds != fold])]] = np.nan
    judged = np.flatnonzero(np.isfinite(proba).all(axis=1))
    if not is_informative(y[judged], proba[judged]):
        raise _says_nothing(study)
    errors = find_label_errors(y, proba)
    accuracy = float((proba[judged].argmax(axis=1) == y[judged]).mean())
    return Candidates(
        study=study,
        dataset=dataset,
        averaged=averaged,
        candidates=tuple(of_one_label(errors, y, dataset.class_names)),
        judged=errors.judged,
        expected=round(errors.expected_share * errors.judged),
        too_many=errors.too_many,
        predicted=f"predict {accuracy:.0%} of the labels",
    )


def _judge_several(
    study: Study, dataset: StoredDataset, averaged: tuple[TrialRecord, ...], proba: Float32Array, folds: Labels
) -> Candidates:
    """The candidates among images that may have several labels."""
    try:
        found = judge_predictions(dataset.y, proba, folds)
    except CannotJudge as problem:
        raise _says_nothing(study) from problem
    return Candidates(
        study=study,
        dataset=dataset,
        averaged=averaged,
        candidates=tuple(of_several_labels(found.errors, dataset.class_names)),
        judged=found.errors.judged,
        expected=round(found.errors.expected),
        too_many=found.errors.too_many,
        predicted=found.predicted,
        unjudged=tuple(dataset.class_names[label] for label in found.unjudged),
    )


def _says_nothing(study: Study) -> NothingToJudge:
    return NothingToJudge(
        f"the predictions of study {study.name} say no more about the labels than the class frequencies do, so "
        "they cannot judge them: wait for better trials, or give `search probe DATA --weights FOLDER` pre-trained "
        "weights"
    )


def _mean_proba(stores: Stores, records: Sequence[TrialRecord]) -> Float32Array:
    """Mean out-of-fold probabilities: float32, shape (n, C)."""
    total = stores.trials.prediction(records[0].id, "oof").astype(np.float64)
    for record in records[1:]:
        total += stores.trials.prediction(record.id, "oof")
    mean: Float32Array = (total / len(records)).astype(np.float32)
    return mean
