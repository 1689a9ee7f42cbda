"""Whether pseudo-labels have helped: the comparison that decides if a study with them may be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.runtime.errors import SearchError
from search.statistics.paired_gain import Gain, exceeds_one_image, paired_gain, shown_gain
from search.statistics.ranking import average
from search.study_state.study import Study, read_study
from search.study_state.study_targets import read_targets
from storage.errors import StorageError
from storage.records.studies import PseudoLabels
from storage.stores import Stores
from storage.values import SEARCH_SPLIT, TrialRecord, TrialStatus, WorkKind
from trainer.evaluation.metrics import score

SEEDS, LINES = "seeds", "lines"
"""Keys of `storage.records.studies.PseudoLabels.about`: the seeds of the compared trainings, and sentences about the
labels."""


class NotAdopted(SearchError):
    """Pseudo-labels have not helped, or it is not known yet, so nothing that learned from them is exported."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Trainings with pseudo-labels against those without, of the same recipe, folds and seeds.

    Both are scored on the training images out-of-fold, averaged over the seeds. Pseudo-labelled rows are in no score.
    """

    metric: str
    teacher: str
    """Name of the study without pseudo-labels."""
    seeds: int
    images: int
    score: float
    """With pseudo-labels."""
    without: float
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
        verdict = "they are adopted" if self.adopted else "no gain beyond noise, so they are not adopted"
        return (
            f"With pseudo-labels the recipe scores {self.metric} {self.score:.4f} out-of-fold, without "
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


def facts_of(labels: PseudoLabels) -> tuple[list[int], list[str]]:
    """Seeds of the compared trainings, and sentences about the labels.

    Raises:
        StorageError: the notes are damaged.
    """
    seeds, lines = labels.about.get(SEEDS), labels.about.get(LINES)
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds) or not isinstance(lines, list):
        raise StorageError("the notes about pseudo-labels are damaged: restore a backup of the database")
    return seeds, [str(line) for line in lines]


def compare_with_plain(stores: Stores, study: Study) -> Comparison | None:
    """Compare the trainings of a study with those of its teacher; None while one of them has not finished.

    Raises:
        UnknownStudyError: the study without pseudo-labels is not in the database.
    """
    seeds, _ = facts_of(labels_of(stores, study))
    teacher = read_study(stores, study.teacher)
    recipe = study.spec.recipe
    own, plain = (finished_by_seed(stores, each, recipe) for each in (study, teacher))
    if not seeds or any(seed not in own or seed not in plain for seed in seeds):
        return None
    new, old = (average([stores.trials.prediction(of[seed].id, "oof") for seed in seeds]) for of in (own, plain))
    targets, metric = read_targets(stores, study), study.metric
    return Comparison(
        metric=metric,
        teacher=teacher.name,
        seeds=len(seeds),
        images=len(targets),
        score=score(metric, targets, new),
        without=score(metric, targets, old),
        gain=paired_gain(metric, targets, new, old),
    )


def finished_by_seed(stores: Stores, study: Study, recipe: Mapping[str, object]) -> dict[int, TrialRecord]:
    """The finished trainings of a recipe on the folds of the search, one for each seed."""
    return {
        record.seed: record
        for kind in (WorkKind.REFIT, WorkKind.SEARCH)
        for record in stores.trials.records(study.id, kind=kind, status=TrialStatus.FINISHED)
        if record.split == SEARCH_SPLIT and record.recipe == dict(recipe)
    }


def require_adopted(stores: Stores, study: Study) -> None:
    """Check that a study may be exported: it has no pseudo-labels, or they have helped.

    Raises:
        NotAdopted: they have not, or it is not known yet.
    """
    if not study.has_pseudo_labels:
        return
    found = compare_with_plain(stores, study)
    if found is None:
        raise NotAdopted(
            f"study {study.name} has not been compared with {study.teacher} yet, so it is not exported: "
            f"`{study.continuing}` goes on"
        )
    if not found.adopted:
        raise NotAdopted(f"study {study.name} is not exported. {found.sentence} The export of {found.teacher} stays")
