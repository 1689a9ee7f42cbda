"""Everything that the sections of a report share, read from the database once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.export.expected_score import Optimism, read_optimism
from search.export.notes import ExportNotes
from search.page.gallery.contents import Gallery, read_gallery
from search.page.labels.candidates import Candidates, NothingToJudge, find_candidates
from search.page.leader_predictions import LeaderPredictions, read_leader_predictions
from search.report.finalists.comparison import Comparison, NothingConfirmed, compare_finalists
from search.runtime.home import Home
from search.study_setup.second_study import Comparison as AgainstFirst
from search.study_setup.second_study import compare_with_first
from search.study_state.snapshot import StudySnapshot, read_snapshot
from search.study_state.study import Study
from search.tuning.restore_optuna import restore_if_gone
from storage.records.datasets import StoredDataset
from storage.records.exports import ExportRecord
from storage.stores import Stores
from storage.values import TrialRecord, TrialStatus, WorkKind
from trainer.common.arrays import Float32Array
from trainer.evaluation.several_labels import NONE, has_several, rarest_label
from trainer.recipe.recipe import Scalar


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A study at one moment with its data, its exports and the comparison of its finalists."""

    stores: Stores
    snapshot: StudySnapshot
    dataset: StoredDataset
    export: ExportRecord | None
    """The latest; None: nothing is exported yet."""
    notes: ExportNotes | None
    """Of ``export``."""
    leader: TrialRecord | None
    """The trial of the export, else the best of the search; None before one has finished."""
    leader_study: Study
    """The study of ``leader``: an export may blend several studies."""
    comparison: Comparison | None
    """Of the finalists; None if none was confirmed."""
    unconfirmed: str
    """Why there is no comparison, as a sentence; empty if there is one."""
    provisional: Path | None
    """The submission of the best trial so far; None after an export, and where there is none."""
    with_first: AgainstFirst | None
    """A second study against its first; None before both have trained, and of a search."""
    optimism: Optimism | None
    """None before a trial has finished."""
    predictions: LeaderPredictions | None
    """Out-of-fold predictions of ``leader``; None without them."""
    suspects: Candidates | None
    """The labels that may be wrong, as ``search labels`` finds them; None: nothing can judge them."""
    unjudged: str
    """Why not, as a sentence; empty: they are judged."""
    gallery: Gallery | None
    """The pictures that the last export drew; None if there are none in the given home."""
    home: Home | None
    """Folder with the features and images of the map; None: the map is left out."""

    @property
    def study(self) -> Study:
        """The study."""
        return self.snapshot.study

    @property
    def oof(self) -> Float32Array | None:
        """Out-of-fold probabilities of ``predictions``, shape (n, C); None without them."""
        return None if self.predictions is None else self.predictions.oof

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several labels, or none."""
        return has_several(self.dataset.y)

    @property
    def strata(self) -> NDArray[np.int64]:
        """One class for each training image, index into `strata_names`: int64 (n,); of several labels the rarest."""
        return rarest_label(self.dataset.y, len(self.dataset.class_names))

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Names of the classes; with one more for images without a label, where there may be such."""
        return (*self.dataset.class_names, *((NONE,) if self.several_labels else ()))

    @property
    def metric(self) -> str:
        """Name of its metric."""
        return self.snapshot.metric

    @property
    def finished(self) -> list[TrialRecord]:
        """Finished trials and probes by number."""
        found = [r for r in self.snapshot.records if r.status is TrialStatus.FINISHED and r.value is not None]
        return sorted(found, key=lambda record: record.number or 0)

    @property
    def default(self) -> dict[str, Scalar]:
        """The default recipe of the study, flat."""
        return self.study.spec.default_recipe()


def read_facts(
    stores: Stores,
    name: str | None,
    provisional: Path | None = None,
    home: Home | None = None,
    *,
    with_map: bool = True,
) -> Facts:
    """Read the facts of the study called ``name``, or of the latest.

    Args:
        provisional: as in `Facts`.
        home: folder with the stored pictures; None: none are read.
        with_map: whether there is time for the map of the images.

    Raises:
        UnknownStudyError, NoStudy: there is no such study.
        ForeignOptunaStudy: another program has replaced Optuna's study.
        StorageError: the database is damaged.
    """
    stored = stores.study(name)
    restore_if_gone(stores, stored)
    snapshot = read_snapshot(stores, stored.name)
    exports = stores.exports.all(stored.id)
    export = exports[-1] if exports else None
    notes = None if export is None else ExportNotes.from_json(export.notes)
    leader, leader_study = _leader(stores, snapshot, notes)
    dataset = stores.datasets.get(stored.fingerprint)
    predictions = None
    if leader is not None:
        predictions = read_leader_predictions(stores, leader, leader_study, export, notes)
    suspects, unjudged = None, ""
    try:
        suspects = find_candidates(stores, snapshot.study)
    except NothingToJudge as reason:
        unjudged = str(reason)
    comparison, unconfirmed = None, ""
    try:
        comparison = compare_finalists(stores, stored.name)
    except NothingConfirmed as reason:
        unconfirmed = str(reason)
    return Facts(
        stores=stores,
        snapshot=snapshot,
        dataset=dataset,
        export=export,
        notes=notes,
        leader=leader,
        leader_study=leader_study,
        comparison=comparison,
        unconfirmed=unconfirmed,
        provisional=None if export is not None else provisional,
        with_first=None if snapshot.study.second is None else compare_with_first(stores, snapshot.study),
        optimism=read_optimism(stores, snapshot.study),
        predictions=predictions,
        suspects=suspects,
        unjudged=unjudged,
        gallery=None if home is None else read_gallery(stores, home, stored.name, dataset),
        home=home if with_map else None,
    )


def _leader(stores: Stores, snapshot: StudySnapshot, notes: ExportNotes | None) -> tuple[TrialRecord | None, Study]:
    study, number = snapshot.study, None
    records: list[TrialRecord] = list(snapshot.records)
    if notes is not None:
        number = notes.trial
        other = None if notes.study is None else stores.studies.find(notes.study)
        if other is not None:
            study, records = Study.of(other), stores.trials.records(other.id, kind=WorkKind.SEARCH)
    elif snapshot.ranking:
        number = snapshot.ranking[0].number
    found = [r for r in records if r.number == number and r.status is TrialStatus.FINISHED and number is not None]
    return (found[0] if found else None), study
