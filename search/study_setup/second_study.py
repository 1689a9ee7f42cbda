"""Whether a second study has helped: the comparison with the first that decides if it may be exported.

A second study trains the best recipe of an export again, in another way (`search.study_state.study.SECOND_KINDS`), on
the folds and with the seeds of the first study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from search.runtime.errors import SearchError
from search.statistics.blending.final_blend import as_exported
from search.statistics.paired_gain import Gain, exceeds_one_image, paired_gain, shown_gain
from search.statistics.ranking import average
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_class_groups, read_folds, read_targets
from storage.errors import StorageError
from storage.records.study_rows import PseudoLabels
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.confusion.confusable_groups import classes_of
from trainer.evaluation.metrics import score
from trainer.inference.printable import excerpt

LINES = "lines"
"""Key of `storage.records.study_rows.PseudoLabels.about`: sentences about the labels."""


class NotAdopted(SearchError):
    """A second study has not helped, or it is not known yet, so nothing that it has trained is exported."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Trainings of a second study against those of the first, of the same recipe, folds and seeds.

    Both are scored on the training images out-of-fold, averaged over the seeds, with the temperature and the label rule
    that an export would have.
    """

    metric: str
    first: str
    """Name of the first study."""
    method: str
    """What the second study trains with, such as ``pseudo-labels``."""
    seeds: int
    images: int
    score: float
    """Of the second study."""
    without: float
    """Of the first."""
    gain: Gain
    """Paired, image by image."""

    @property
    def adopted(self) -> bool:
        """Whether the gain exceeds one standard error, and does not hang on one image."""
        return exceeds_one_image(self.gain, self.metric, self.images)

    @property
    def sentence(self) -> str:
        """The comparison and its result."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        verdict = "adopted" if self.adopted else "no gain beyond noise, so not adopted"
        return (
            f"With {self.method} the recipe scores {self.metric} {self.score:.4f} out-of-fold, without "
            f"{self.without:.4f}: {shown_gain(self.gain, self.metric)} (paired on {self.images} "
            f"training images, {seeds}); {verdict}."
        )


def labels_of(stores: Stores, study: Study) -> PseudoLabels:
    """The pseudo-labels of a study that has some.

    Raises:
        StorageError: they are not stored.
    """
    stored = stores.studies.pseudo_labels(study.id)
    if stored is None:
        raise StorageError(f"the pseudo-labels of study {study.name} are not in {stores.database.name}")
    return stored


def lines_about(stores: Stores, study: Study) -> list[str]:
    """What a second study learns from, a sentence each.

    Raises:
        StorageError: it has pseudo-labels, and they are not stored or their notes are damaged; or it is a second stage,
            and its groups do not fit the images.
    """
    if study.is_second_stage:
        return _lines_about_groups(stores, study)
    if study.is_self_distilled:
        from trainer.training.teaching.soft_targets import LABEL_SHARE

        return [
            f"{LABEL_SHARE:.0%} of each target is the label, the rest the prediction of a network of the same recipe "
            "that has seen neither the image nor the fold that is held out."
        ]
    if not study.has_pseudo_labels:
        return []
    noted = labels_of(stores, study).about.get(LINES)
    if not isinstance(noted, list):
        raise StorageError("the notes about pseudo-labels are damaged: restore a backup of the database")
    return [str(line) for line in noted]


def _lines_about_groups(stores: Stores, study: Study) -> list[str]:
    groups, dataset = read_class_groups(stores, study), stores.datasets.get(study.fingerprint)
    named = [" / ".join(excerpt(dataset.class_names[label]) for label in group) for group in groups]
    images = int(np.isin(dataset.y, classes_of(groups)).sum())
    return [
        f"Groups of confusable classes, which a second stage tells apart: {'; '.join(named)}.",
        f"It trains on the {images} images of these {sum(map(len, groups))} classes alone. So its own score, which "
        "counts all images, is low.",
    ]


def compare_with_first(stores: Stores, study: Study) -> Comparison | None:
    """Compare the trainings of a second study with those of the first; None while one of them has not finished.

    Raises:
        UnknownStudyError: the first study is not in the database.
    """
    assert study.second is not None, "there is nothing to compare a search with"
    seeds = study.spec.compared_seeds
    first = read_study(stores, study.first)
    recipe = study.spec.recipe
    own, plain = (finished_by_seed(stores, each, recipe) for each in (study, first))
    if not seeds or any(seed not in own or seed not in plain for seed in seeds):
        return None
    new, old = (average([stores.trials.prediction(of[seed].id, "oof") for seed in seeds]) for of in (own, plain))
    targets, metric, folds = read_targets(stores, study), study.metric, read_folds(stores, study, SEARCH_SPLIT)
    groups, calibrate = read_class_groups(stores, study), study.spec.final.calibrate
    stages = np.stack([old, new]) if groups else new[None]
    with_it = as_exported(stages, targets, folds, metric, calibrate=calibrate, groups=groups)
    without = as_exported(old[None], targets, folds, metric, calibrate=calibrate)
    return Comparison(
        metric=metric,
        first=first.name,
        method=study.second.name,
        seeds=len(seeds),
        images=len(targets),
        score=score(metric, targets, with_it),
        without=score(metric, targets, without),
        gain=paired_gain(metric, targets, with_it, without),
    )


def finished_by_seed(stores: Stores, study: Study, recipe: Mapping[str, object]) -> dict[int, TrialRecord]:
    """The finished trainings of a recipe on the folds of the search, one for each seed."""
    return {
        record.seed: record
        for kind in (WorkKind.REFIT, WorkKind.SEARCH)
        for record in stores.trials.records(study.id, kind=kind, status=TrialStatus.FINISHED)
        if record.split == SEARCH_SPLIT and record.recipe == dict(recipe)
    }


def require_adopted(stores: Stores, study: Study) -> Comparison | None:
    """Check that a study may be exported: it is no second study, or it has helped, as the returned comparison says.

    Raises:
        NotAdopted: it has not, or it is not known yet.
    """
    if study.second is None:
        return None
    found = compare_with_first(stores, study)
    if found is None:
        raise NotAdopted(
            f"study {study.name} has not been compared with {study.first} yet, so it is not exported: "
            f"`{study.continuing}` goes on"
        )
    if not found.adopted:
        raise NotAdopted(f"study {study.name} is not exported. {found.sentence} The export of {found.first} stays")
    return found
